"""The difference of two scores that rest on different frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.metrics.judgement import FloatArray, Judgement, MetricPath
from tasks.metrics.split_bias import split_bias


def mean_of(values: list[float]) -> Judgement:
    """A judgement whose one metric is the weighted mean of a number on each frame."""
    array = np.array(values)

    def statistic(weights: NDArray[np.int64]) -> dict[MetricPath, FloatArray]:
        with np.errstate(invalid="ignore"):
            return {("mean",): (weights @ array) / weights.sum(axis=1)}

    there = np.ones(len(values), dtype=np.int64)
    return Judgement(statistic=statistic, labels={}, support={("mean",): there}, errors=np.zeros(len(values)))


def draws(flattered: list[float], honest: list[float], theirs: list[str], ours: list[str]) -> Any:
    found = split_bias(mean_of(flattered), mean_of(honest), theirs, ours, resamples=500, seed=0)
    return found[("mean",)]


def test_every_draw_tests_both() -> None:
    found = draws([0.9, 0.8, 1.0, 0.7], [0.5, 0.6], ["a", "b", "x", "y"], ["x", "y"])
    assert not np.isnan(found).any()
    assert abs(float(found.mean()) - (0.85 - 0.55)) < 0.02


def test_what_both_tests_share_cancels() -> None:
    # Both models score a group's frames alike but for a constant: only groups' difficulty varies, and it is shared.
    hard = {"x": 0.1, "y": 0.5, "z": 0.9}
    groups = ["x", "y", "z"] * 4
    found = draws([hard[g] + 0.2 for g in groups], [hard[g] for g in groups], groups, groups)
    assert np.allclose(found, 0.2)


def test_the_same_seed_draws_the_same() -> None:
    one = draws([0.9, 0.8, 1.0], [0.5, 0.6], ["a", "b", "x"], ["x", "y"])
    assert np.array_equal(one, draws([0.9, 0.8, 1.0], [0.5, 0.6], ["a", "b", "x"], ["x", "y"]), equal_nan=True)
