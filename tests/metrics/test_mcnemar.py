"""McNemar's exact test, by hand."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from tasks.metrics.mcnemar import mcnemar


def test_by_hand() -> None:
    """Eight pictures part the models, seven of them for the first: twice the chance of 7 or 8 heads in 8 throws."""
    first = np.array([1.0] * 7 + [0.0] + [1.0] * 5 + [0.0] * 2 + [np.nan])
    second = np.array([0.0] * 7 + [1.0] + [1.0] * 5 + [0.0] * 2 + [1.0])
    found = mcnemar(first, second)
    assert (found.both, found.only_first, found.only_second, found.neither) == (5, 7, 1, 2)
    assert found.p_value == pytest.approx(2 * (comb(8, 7) + comb(8, 8)) / 2**8)
    other = mcnemar(second, first)
    assert (other.only_first, other.only_second, other.p_value) == (1, 7, pytest.approx(found.p_value))


@pytest.mark.parametrize("first", [[1.0, 0.0], [np.nan, np.nan], []])
def test_models_that_never_part_are_not_told_apart(first: list[float]) -> None:
    same = np.array(first)
    assert mcnemar(same, same).p_value == 1.0
