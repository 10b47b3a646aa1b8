"""Whether more data would help: the rise over the last doubling, and how sure it is."""

from __future__ import annotations

import math

import pytest

from tasks.metrics.learning_curve import Measured, last_doubling


def points(values: dict[int, list[float]]) -> list[Measured]:
    """One value a seed for each number of groups."""
    return [
        Measured(groups=groups, seed=seed, value=value)
        for groups, own in values.items()
        for seed, value in enumerate(own)
    ]


def test_a_curve_that_flattens_promises_only_what_its_end_rises() -> None:
    rise = last_doubling(points({5: [0.2, 0.3], 10: [0.7, 0.7], 20: [0.70, 0.72]}), 0.95)
    assert rise is not None and (rise.from_groups, rise.to_groups, rise.seeds) == (10, 20, 2)
    assert rise.per_doubling == pytest.approx(0.01)
    assert rise.fitted is not None and rise.fitted > 0.1, "a line through all points promises far more"
    assert rise.low is not None and rise.high is not None and rise.low < 0.01 < rise.high


def test_sizes_that_are_no_doubling_apart_are_scaled_to_one() -> None:
    rise = last_doubling(points({3: [0.5], 4: [0.6]}), 0.95)
    assert rise is not None and rise.per_doubling == pytest.approx(0.1 / math.log2(4 / 3))
    assert (rise.low, rise.high) == (None, None), "of one seed nobody knows how sure it is"


def test_the_size_nearest_to_a_half_is_compared() -> None:
    rise = last_doubling(points({8: [0.1], 16: [0.5], 24: [0.6], 32: [0.7]}), 0.95)
    assert rise is not None and rise.from_groups == 16 and rise.per_doubling == pytest.approx(0.2)


def test_only_seeds_that_finished_both_sizes_are_paired() -> None:
    measured = [p for p in points({10: [0.5, 0.1, 0.6], 20: [0.6, 0.9, 0.7]}) if (p.groups, p.seed) != (10, 1)]
    rise = last_doubling(measured, 0.95)
    assert rise is not None and rise.seeds == 2 and rise.per_doubling == pytest.approx(0.1)


def test_where_lower_is_better_a_fall_is_a_rise() -> None:
    rise = last_doubling(points({10: [0.5], 20: [0.4]}), 0.95, better="lower")
    assert rise is not None and rise.per_doubling == pytest.approx(0.1) and rise.fitted == pytest.approx(0.1)


@pytest.mark.parametrize("values", [{}, {10: [0.5, 0.6]}])
def test_one_size_is_no_curve(values: dict[int, list[float]]) -> None:
    assert last_doubling(points(values), 0.95) is None


def test_sizes_without_a_common_seed_are_no_curve() -> None:
    apart = [Measured(groups=10, seed=0, value=0.5), Measured(groups=20, seed=1, value=0.6)]
    assert last_doubling(apart, 0.95) is None
