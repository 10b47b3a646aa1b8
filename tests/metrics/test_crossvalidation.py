"""The interval over folds covers what it says, where the plain t interval does not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tasks.metrics.crossvalidation import fold_scores


def test_by_hand() -> None:
    found = fold_scores([0.6, 0.8, 0.7, 0.9], 1 / 3, 0.95)
    sd = math.sqrt((0.15**2 + 0.05**2) * 2 / 3)
    assert found.mean == pytest.approx(0.75) and found.sd == pytest.approx(sd)
    reach = 3.182446 * sd * math.sqrt(1 / 4 + 1 / 3)  # t of 3 degrees of freedom, from a table
    assert (found.low, found.high) == (pytest.approx(0.75 - reach), pytest.approx(0.75 + reach))


def test_what_is_missing_is_left_out_and_shown() -> None:
    found = fold_scores([0.6, None, 0.8], 0.5, 0.95)
    assert found.mean == pytest.approx(0.7) and found.folds == (0.6, None, 0.8)
    alone = fold_scores([None, 0.8], 1.0, 0.95)
    assert (alone.mean, alone.sd, alone.low) == (0.8, None, None)
    nothing = fold_scores([None, None], 1.0, 0.95)
    assert (nothing.mean, nothing.low, nothing.high) == (None, None, None)


@pytest.mark.parametrize("folds", [3, 10])
def test_it_covers_scores_that_correlate_through_their_shared_training_data(folds: int) -> None:
    # Two folds' scores correlate by the share that each leaves out, 1/K: the model of Nadeau & Bengio.
    random, runs, correlation = np.random.default_rng(0), 2000, 1 / folds
    shared, own = random.normal(size=(runs, 1)), random.normal(size=(runs, folds))
    scores = math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * own

    def coverage(test_over_train: float) -> float:
        found = [fold_scores([float(s) for s in row], test_over_train, 0.95) for row in scores]
        return float(np.mean([f.low is not None and f.low <= 0 <= (f.high or 0.0) for f in found]))

    assert coverage(1 / (folds - 1)) == pytest.approx(0.95, abs=0.02)
    assert coverage(0.0) < 0.90, "the plain t interval is too narrow, and this test would not notice"
