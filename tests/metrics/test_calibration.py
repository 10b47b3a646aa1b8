"""Calibration: by hand, against a plain loop, and under weights as under repeated images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.metrics.boxes import Boxes
from tasks.metrics.calibration import BINS, SCORE_FLOOR, binned, expected_calibration_errors, reliability
from tasks.metrics.detection import judge, match_classes, size_ranges
from tasks.metrics.judgement import measured
from tasks.metrics.matching import Matches
from tests.metrics.reference import scene

CLASSES = ("sperm", "impurity", "cell")


def matches_of(seed: int, images: int = 12) -> list[Matches]:
    predictions, truth = scene(seed, images=images, crowds=0.2)
    of = match_classes(predictions, truth, classes=3, images=images, ranges=size_ranges(32, 96))
    return [own["all"] for own in of]


def plainly(score: np.ndarray, right: np.ndarray) -> float:
    """Guo et al. 2017, eq. 3, as it is written."""
    total = 0.0
    for b in range(BINS):
        own = (score >= b / BINS) & ((score < (b + 1) / BINS) | (b == BINS - 1))
        if own.any():
            total += own.sum() / len(score) * abs(right[own].mean() - score[own].mean())
    return total


def test_by_hand() -> None:
    """Two predictions at 0.9, one right: |0.5 - 0.9|. One at 0.4, wrong: 0.4. One at 0.05: below the floor."""
    truth = Boxes.of([0], [0], [[0, 0, 40, 40]])
    boxes = [[0, 0, 40, 40], [200, 0, 40, 40], [300, 0, 40, 40], [400, 0, 40, 40]]
    predictions = Boxes.of([0] * 4, [0] * 4, boxes, score=[0.9, 0.9, 0.4, 0.05])
    judged = judge(predictions, truth, classes=("sperm",), images=1)
    found = measured(judged, 1)
    assert found["ECE"] == found["per_class"]["sperm"]["ECE"] == pytest.approx((2 * 0.4 + 1 * 0.4) / 3)


def test_two_classes_are_pooled_prediction_by_prediction() -> None:
    """One class always right at 0.75, the other never: each is off, both together are as sure as they are right."""
    boxes = [[50.0 * i, 0, 40, 40] for i in range(4)]
    truth = Boxes.of([0] * 3, [0] * 3, boxes[:3])
    predictions = Boxes.of([0] * 4, [0, 0, 0, 1], boxes, score=[0.75] * 4)
    found = measured(judge(predictions, truth, classes=CLASSES[:2], images=1), 1)
    assert found["per_class"]["sperm"]["ECE"] == pytest.approx(0.25)
    assert found["per_class"]["impurity"]["ECE"] == pytest.approx(0.75)
    assert found["ECE"] == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_plain_loop(seed: int) -> None:
    of = matches_of(seed)
    found = expected_calibration_errors([binned(own, 12) for own in of], np.ones((1, 12), dtype=np.int64))[:, 0]
    kept = [(~own.ignored[:, 0]) & (own.score >= SCORE_FLOOR) for own in of]
    each = [(own.score[k], own.tp[k, 0]) for own, k in zip(of, kept, strict=True)]
    for value, (score, right) in zip(found, each, strict=False):
        assert value == pytest.approx(plainly(score, right), abs=1e-6)
    score, right = (np.concatenate(parts) for parts in zip(*each, strict=True))
    assert found[-1] == pytest.approx(plainly(score, right), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_weight_of_two_is_the_image_twice(seed: int) -> None:
    of = matches_of(seed, images=4)
    weights = np.random.default_rng(seed).integers(0, 3, 4)
    found = expected_calibration_errors([binned(own, 4) for own in of], weights[None, :])[:, 0]
    for value, own in zip(found, of, strict=False):
        keep = ~own.ignored[:, 0] & (own.score >= SCORE_FLOOR)
        times = weights[own.image[keep]]
        score, right = np.repeat(own.score[keep], times), np.repeat(own.tp[keep, 0], times)
        assert np.isnan(value) if not len(score) else value == pytest.approx(plainly(score, right), abs=1e-6)


def test_sums_do_not_depend_on_the_order_of_images() -> None:
    """To the last bit: whoever measures again on another processor must find the same."""
    of = matches_of(0)
    bins = [binned(own, 12) for own in of]
    order = np.random.default_rng(0).permutation(12)
    shuffled = [type(own)(own.there[order], own.right[order], own.score[order]) for own in bins]
    weights = np.random.default_rng(1).integers(0, 5, (50, 12))
    np.testing.assert_array_equal(
        expected_calibration_errors(bins, weights), expected_calibration_errors(shuffled, weights[:, order])
    )


def test_nothing_predicted_is_not_known() -> None:
    none, some = Boxes.of([], [], []), Boxes.of([0], [0], [[0, 0, 10, 10]])
    found = measured(judge(none, some, classes=("sperm",), images=1), 1)
    assert found["ECE"] is None
    assert judge(none, some, classes=("sperm",), images=1).curves[2].series == {"sperm": ([], [])}


def test_the_curve_of_a_calibrated_detector_lies_on_the_diagonal() -> None:
    rng = np.random.default_rng(0)
    n, images = 4000, 100
    score = rng.uniform(0.1, 1, n)
    right = rng.random(n) < score
    where, place = np.divmod(np.arange(n), n // images)
    boxes = np.stack([place * 50.0, np.zeros(n), np.full(n, 40.0), np.full(n, 40.0)], axis=1)
    predictions = Boxes.of(where, np.zeros(n), boxes, score=score)
    truth = Boxes.of(where[right], np.zeros(right.sum()), boxes[right])
    judged = judge(predictions, truth, classes=("sperm",), images=images)
    curve = judged.curves[2]
    x, y = curve.series["sperm"]
    assert curve.diagonal and len(x) == BINS - 1
    assert np.abs(np.array(x) - y).max() < 0.08
    assert measured(judged, images)["ECE"] < 0.03


def test_a_point_of_the_curve_needs_enough_predictions() -> None:
    x, y = reliability(binned(matches_of(0, images=1)[0], 1))
    assert len(x) == len(y) < BINS - 1
