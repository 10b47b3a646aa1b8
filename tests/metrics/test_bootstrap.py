"""The paired cluster bootstrap: weights mean repetition, draws are paired, and one cluster gives no interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.metrics.bootstrap import bounds, draw_clusters, interval, paired_bootstrap, supporting_clusters
from tasks.metrics.boxes import Boxes
from tasks.metrics.detection import judge
from tasks.metrics.judgement import FloatArray, MetricPath, measured
from tests.metrics.reference import scene

CLASSES = ("sperm", "impurity", "cell")


def repeated(boxes: Boxes, times: np.ndarray) -> Boxes:
    """The boxes of a data set in which image i occurs `times[i]` times, as images of their own."""
    drawn = np.repeat(np.arange(len(times)), times)
    places = [np.flatnonzero(boxes.image == image) for image in drawn]
    index = np.concatenate([np.zeros(0, dtype=np.int64), *places])
    image = np.repeat(np.arange(len(drawn)), [len(place) for place in places])
    return Boxes.of(image, boxes.label[index], boxes.xywh[index], boxes.score[index], boxes.crowd[index])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_weight_of_two_is_the_image_twice(seed: int) -> None:
    predictions, truth = scene(seed, images=5, crowds=0.1)
    times = np.random.default_rng(seed).integers(0, 3, 5)
    if not times.sum():
        times[0] = 1
    judged = judge(predictions, truth, classes=CLASSES, images=5)
    weighted = judged.statistic(times[None, :])
    copied = judge(repeated(predictions, times), repeated(truth, times), classes=CLASSES, images=int(times.sum()))
    plain = copied.statistic(np.ones((1, int(times.sum())), dtype=np.int64))
    for path in weighted:
        if path[-1] in ("AP50", "AP50_95", "AR"):  # the others hold at a threshold that each data set chooses itself
            np.testing.assert_allclose(weighted[path], plain[path], atol=1e-9, err_msg=str(path))


def test_many_rows_of_weights_equal_each_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions, truth = scene(2, images=9)
    judged = judge(predictions, truth, classes=CLASSES, images=9)
    weights = np.random.default_rng(0).integers(0, 4, (40, 9))
    whole = judged.statistic(weights)
    monkeypatch.setattr("tasks.metrics.average_precision._CHUNK", 100)
    in_chunks = judged.statistic(weights)
    for path, values in whole.items():
        np.testing.assert_array_equal(values, in_chunks[path])
        np.testing.assert_allclose(values[7], judged.statistic(weights[7:8])[path][0], rtol=1e-12)


def test_the_seed_decides_the_draws() -> None:
    assert (draw_clusters(6, 50, 3) == draw_clusters(6, 50, 3)).all()
    assert (draw_clusters(6, 50, 3) != draw_clusters(6, 50, 4)).any()
    assert (draw_clusters(6, 50, 3).sum(axis=1) == 6).all()


def mean_of(values: np.ndarray) -> object:
    def statistic(weights: np.ndarray) -> dict[MetricPath, FloatArray]:
        return {("mean",): weights @ values / weights.sum(axis=1)}

    return statistic


def test_what_both_models_share_cancels_in_the_difference() -> None:
    hard = np.random.default_rng(0).normal(size=40)
    cluster = np.arange(40) % 8
    drawn = paired_bootstrap({"a": mean_of(hard + 0.25), "b": mean_of(hard)}, cluster, resamples=300, seed=0)  # type: ignore[dict-item]
    assert drawn is not None and drawn.clusters == 8
    assert np.std(drawn.values["a"][("mean",)]) > 0.02
    np.testing.assert_allclose(drawn.differences("a", "b")[("mean",)], 0.25)


def test_the_interval_of_a_mean_is_that_of_the_clusters() -> None:
    """A known case: independent cluster means, the interval near mean ± 1.96 standard errors of the clusters."""
    rng = np.random.default_rng(1)
    means = rng.normal(size=100)
    frames, cluster = np.repeat(means, 5), np.repeat(np.arange(100), 5)
    drawn = paired_bootstrap({"a": mean_of(frames)}, cluster, resamples=4000, seed=0)  # type: ignore[dict-item]
    assert drawn is not None
    found = interval(drawn.values["a"][("mean",)], 0.95, drawn.clusters)
    error = 1.96 * means.std() / 10
    assert found.low == pytest.approx(means.mean() - error, abs=0.03)
    assert found.high == pytest.approx(means.mean() + error, abs=0.03)


def test_one_cluster_gives_no_interval() -> None:
    assert paired_bootstrap({"a": mean_of(np.ones(4))}, np.zeros(4, dtype=np.int64), resamples=100, seed=0) is None  # type: ignore[dict-item]
    assert interval([0.1, 0.2], 0.95, clusters=1).low is None
    assert bounds([float("nan")], 0.95, clusters=5) == (None, None)


def test_the_interval_of_a_report_consists_of_drawn_values() -> None:
    assert interval([0.3, float("nan"), 0.5], 0.9, 2).low == 0.3
    values = np.arange(1, 1001) / 1000
    many = interval(values, 0.9, 10_000)
    assert many.low == pytest.approx(0.05, abs=0.002) and many.high == pytest.approx(0.951, abs=0.002)
    few = interval(values, 0.9, 5)
    assert few.low == pytest.approx(0.009, abs=0.001), "Phi(-sqrt(5/4) t[4, 0.95]) = 0.0086"


@pytest.mark.parametrize("clusters", [5, 8, 20])
def test_the_bounds_of_a_mean_are_at_least_as_far_as_students(clusters: int) -> None:
    from scipy.stats import t

    means = np.random.default_rng(clusters).normal(size=clusters)
    drawn = paired_bootstrap({"a": mean_of(means)}, np.arange(clusters), resamples=8_000, seed=0)  # type: ignore[dict-item]
    assert drawn is not None
    low, high = bounds(drawn.values["a"][("mean",)], 0.95, clusters)
    assert low is not None and high is not None
    student = t.interval(0.9, clusters - 1, means.mean(), means.std(ddof=1) / np.sqrt(clusters))
    half = (student[1] - student[0]) / 2
    assert low < student[0] + 0.02 * half and high > student[1] - 0.02 * half
    assert high - low < 2 * 1.25 * half, "and not much further"


def test_a_strict_confidence_reaches_beyond_the_worst_draw() -> None:
    values = np.random.default_rng(0).normal(size=200)
    low, _ = bounds(values, 0.9999, 6)
    assert low is not None and low < values.min()


def test_draws_all_alike_have_no_width() -> None:
    assert bounds([0.1] * 7, 0.95, 5) == (0.1, 0.1)


def test_a_bound_errs_as_often_as_it_says_where_the_plain_percentile_errs_twice_as_often() -> None:
    """5 clusters around 0, some far out; what is counted is a bound on the wrong side of it."""
    rng, wrong, plain, cases = np.random.default_rng(7), 0, 0, 1500
    times = draw_clusters(5, 400, seed=1)
    for _ in range(cases):
        means = rng.gamma(2, size=5) - rng.gamma(2, size=5)
        values = times @ means / 5
        low, high = bounds(values, 0.95, 5)
        assert low is not None and high is not None
        wrong += (low > 0) + (high < 0)
        plain += int(np.quantile(values, 0.05) > 0) + int(np.quantile(values, 0.95) < 0)
    assert wrong / (2 * cases) < 0.055
    assert plain / (2 * cases) > 0.09


def test_clusters_that_support_a_class() -> None:
    assert supporting_clusters(np.array([0, 0, 3, 1, 0]), np.array([0, 0, 1, 1, 2])) == 1


def test_resampled_values_surround_the_measured_one() -> None:
    predictions, truth = scene(4, images=30)
    judged = judge(predictions, truth, classes=CLASSES, images=30)
    drawn = paired_bootstrap({"m": judged.statistic}, np.arange(30) % 10, resamples=500, seed=0)
    assert drawn is not None
    found = interval(drawn.values["m"][("AP50",)], 0.95, 10)
    assert found.low is not None and found.high is not None
    assert found.low < measured(judged, 30)["AP50"] < found.high
