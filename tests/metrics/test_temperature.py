"""Temperature scaling: the temperature that spoilt the logits is found again, against scikit-learn's log loss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from tasks.metrics.temperature import (
    LIMITS,
    NEUTRAL,
    fit_temperature,
    negative_log_likelihood,
    probabilities,
)


def drawn(seed: int, multi_label: bool, n: int = 4000, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Logits that mean what they say, and targets drawn by them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, classes))
    score = probabilities(logits, multi_label=multi_label)
    if multi_label:
        return logits, (rng.random(score.shape) < score).astype(np.float64)
    chosen = (rng.random((n, 1)) > np.cumsum(score, axis=1)).sum(axis=1).clip(0, classes - 1)
    return logits, np.eye(classes)[chosen]


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("wrong_by", [0.25, 1.0, 3.0])
def test_the_temperature_that_spoilt_the_logits_is_found(multi_label: bool, wrong_by: float) -> None:
    logits, targets = drawn(0, multi_label)
    found = fit_temperature(logits * wrong_by, targets, multi_label=multi_label)
    assert found == pytest.approx(wrong_by, rel=0.08)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), multi_label=st.booleans(), scale=st.floats(0.3, 4))
def test_no_other_temperature_is_better_and_no_choice_changes(seed: int, multi_label: bool, scale: float) -> None:
    logits, targets = drawn(seed, multi_label, n=60)
    logits = logits * scale
    if multi_label:
        targets[np.random.default_rng(seed).random(targets.shape) < 0.3] = np.nan
    found = fit_temperature(logits, targets, multi_label=multi_label)
    best = negative_log_likelihood(logits, targets, found, multi_label=multi_label)
    for other in np.geomspace(*LIMITS, 50):
        assert best <= negative_log_likelihood(logits, targets, other, multi_label=multi_label) + 1e-8
    before, after = (probabilities(logits, t, multi_label=multi_label) for t in (NEUTRAL, found))
    if multi_label:
        np.testing.assert_array_equal(before >= 0.5, after >= 0.5)
    else:
        np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))


def test_the_likelihood_is_scikit_learns() -> None:
    logits, targets = drawn(1, multi_label=False, n=50)
    ours = negative_log_likelihood(logits, targets, 1.7)
    assert ours == pytest.approx(log_loss(targets.argmax(axis=1), probabilities(logits, 1.7)), abs=1e-9)
    logits, targets = drawn(2, multi_label=True, n=50)
    ours = negative_log_likelihood(logits, targets, 0.6, multi_label=True)
    score = probabilities(logits, 0.6, multi_label=True)
    assert ours == pytest.approx(log_loss(targets.ravel(), score.ravel()), abs=1e-9)


def test_nothing_known_changes_nothing_and_a_perfect_model_stays_within_the_limits() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros((0, 3))) == NEUTRAL
    assert fit_temperature(np.zeros((2, 3)), np.full((2, 3), np.nan), multi_label=True) == NEUTRAL
    perfect = np.eye(3) * 9
    assert LIMITS[0] <= fit_temperature(perfect, np.eye(3)) < NEUTRAL
    assert fit_temperature(-perfect, np.eye(3)) == pytest.approx(LIMITS[1], rel=0.01)
