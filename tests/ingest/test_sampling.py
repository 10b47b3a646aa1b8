from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.ingest.sampling import Rate, Sampler, candidate_indices
from tests.ingest.clips import numbered


def sampled(rate: Rate, pts: np.ndarray) -> list[int]:
    sampler = Sampler({"line": rate})
    sampler.plan(pts)
    for index, moment in enumerate(pts):
        if sampler.wants(index, float(moment)):
            sampler.take(index, float(moment), numbered(index))
    return sampler.kept["line"]


def test_a_frame_at_or_after_each_mark() -> None:
    assert sampled(Rate(0.5, 60, 0), np.arange(60) / 24) == [0, 12, 24, 36, 48]
    assert sampled(Rate(0.5, 60, 0), 100 + np.arange(60) / 25) == [0, 13, 25, 38, 50]
    assert sampled(Rate(1.0, 60, 0), np.array([0.0, 0.4, 3.2, 3.3, 4.0])) == [0, 2, 4]
    assert sampled(Rate(1.0, 60, 0), np.array([7.0])) == [0]
    assert sampled(Rate(1.0, 1, 0), np.arange(10.0)) == [0]


def test_an_unusable_frame_makes_way_for_the_next() -> None:
    sampler = Sampler({"line": Rate(1.0, 60, 0)})
    sampler.plan(pts := np.arange(30) / 10)
    for index, moment in enumerate(pts):
        if sampler.wants(index, moment) and index not in (10, 11):
            sampler.take(index, moment, numbered(index))
    assert sampler.kept["line"] == [0, 12, 20]


@given(
    st.lists(st.integers(1, 500), min_size=1, max_size=60), st.floats(0.001, 5), st.integers(1, 20), st.integers(0, 50)
)
def test_what_is_taken_can_be_told_from_the_timestamps(steps: list[int], every_s: float, most: int, start: int) -> None:
    pts = start + np.cumsum(steps) / 1000
    rate = Rate(every_s, most, 0)
    kept = sampled(rate, pts)
    assert kept == candidate_indices(rate, pts)
    assert kept[0] == 0 and len(kept) <= most and kept == sorted(set(kept))
    untimed = np.full(len(steps), np.nan)
    kept = sampled(rate, untimed)
    assert kept == candidate_indices(rate, untimed)
    assert len(kept) == min(most, len(steps)) and kept[0] == 0
