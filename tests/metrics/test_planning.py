"""How many recordings a finding takes: known cases, and what must hold for any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.metrics.bootstrap import bounds
from tasks.metrics.planning import MANY, clusters_for_width, clusters_to_carry, clusters_to_settle


@pytest.mark.parametrize(
    ("confidence", "clusters"), [(0.51, 2), (0.75, 2), (0.8, 3), (0.9, 4), (0.95, 5), (0.96875, 5), (0.99, 7)]
)
def test_coins_that_fall_alike(confidence: float, clusters: int) -> None:
    assert clusters_to_carry(confidence) == clusters
    assert 1 - 0.5**clusters >= confidence


def test_half_the_width_takes_four_times_the_recordings_and_a_few_more_where_they_are_few() -> None:
    assert clusters_for_width(0.1, 200, 0.95, 0.05) == pytest.approx(800, abs=10)
    assert clusters_for_width(0.1, 8, 0.95, 0.05) == 27
    assert clusters_for_width(0.1, 8, 0.95, 0.1) == 8
    assert clusters_for_width(0.1, 8, 0.95, 0.0001) is None


def test_what_is_extrapolated_is_what_the_bootstrap_then_finds() -> None:
    """The width that N clusters of the same spread really have is the one that was asked for."""
    rng = np.random.default_rng(0)

    def width(clusters: int) -> float:
        draws = rng.normal(0, 0.1 * np.sqrt((clusters - 1) / clusters) / np.sqrt(clusters), 200_000)
        low, high = bounds(draws, 0.95, clusters)
        assert low is not None and high is not None
        return high - low

    needed = clusters_for_width(width(6), 6, 0.95, 0.06)
    assert needed is not None
    assert width(needed) == pytest.approx(0.06, rel=0.05)


def test_settling_happens_four_times_of_five() -> None:
    """A normal difference 0.05 above its limit, of the spread that the interval of 8 clusters implies."""
    spread, distance = 0.1, 0.05
    low, high = bounds(np.random.default_rng(0).normal(0, spread * np.sqrt(7) / 8, 200_000), 0.95, 8)
    assert low is not None and high is not None
    needed = clusters_to_settle(distance, high - low, 8, 0.95)
    assert needed is not None and 20 < needed < 40
    from scipy.special import stdtrit

    samples = np.random.default_rng(1).normal(distance, spread, (20_000, needed))
    least = samples.mean(axis=1) - stdtrit(needed - 1, 0.95) * samples.std(axis=1, ddof=1) / np.sqrt(needed)
    assert (least > 0).mean() == pytest.approx(0.8, abs=0.05)


def test_on_the_limit_nothing_settles_it() -> None:
    assert clusters_to_settle(0.0, 0.1, 8, 0.95) is None
    assert clusters_to_settle(0.0, 0.0, 8, 0.95) is None


@given(distance=st.floats(0.001, 0.5), width=st.floats(0.001, 0.5), clusters=st.integers(2, 60), more=st.floats(1, 3))
def test_further_from_the_limit_takes_no_more(distance: float, width: float, clusters: int, more: float) -> None:
    near = clusters_to_settle(distance, width, clusters, 0.95) or MANY + 1
    far = clusters_to_settle(-distance * more, width, clusters, 0.95) or MANY + 1
    assert far <= near
    assert (clusters_for_width(width, clusters, 0.95, width / more) or MANY + 1) >= clusters
