"""Detection metrics: equal to the reference, and right where one can count by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.metrics.average_precision import average_precision
from tasks.metrics.boxes import Boxes
from tasks.metrics.confusion import pair_boxes
from tasks.metrics.detection import METRICS, judge, match_classes, size_ranges
from tasks.metrics.judgement import find, measured, measured_by, tree
from tests.metrics.reference import coco_evaluate, scene

CLASSES = ("sperm", "impurity", "cell")


def against_reference(
    predictions: Boxes,
    truth: Boxes,
    *,
    classes: int,
    images: int,
    max_detections: int = 100,
    small_px: float = 32.0,
    large_px: float = 96.0,
) -> None:
    expected = coco_evaluate(
        predictions,
        truth,
        classes=classes,
        images=images,
        small_px=small_px,
        large_px=large_px,
        max_detections=max_detections,
    )
    ranges = size_ranges(small_px, large_px)
    matches = match_classes(
        predictions, truth, classes=classes, images=images, ranges=ranges, max_detections=max_detections
    )
    ones = np.ones((1, images), dtype=np.int64)
    for k, of in enumerate(matches):
        for a, name in enumerate(ranges):
            precision = np.asarray(expected["precision"])[:, :, k, a, 0]
            mine = average_precision(of[name], ones)[0]
            if (precision == -1).all():
                assert np.isnan(mine).all()
            else:
                np.testing.assert_allclose(mine, precision.mean(axis=1), atol=1e-6, err_msg=f"class {k}, {name}")


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("crowds", [0.0, 0.3])
def test_equals_the_reference(seed: int, ties: bool, crowds: float) -> None:
    predictions, truth = scene(seed, ties=ties, crowds=crowds)
    against_reference(predictions, truth, classes=3, images=12)


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_reference_where_boxes_crowd_each_other(seed: int) -> None:
    """Many candidates for every box, so that the order of assignment decides."""
    predictions, truth = scene(seed, images=3, objects=60, false_alarms=120, classes=2, side=(60, 130), ties=True)
    against_reference(predictions, truth, classes=2, images=3, small_px=70, large_px=100)


def test_equals_the_reference_with_equal_overlaps() -> None:
    """Truths and predictions on a grid: overlaps tie exactly, and the last truth wins."""
    truth = Boxes.of(
        [0] * 4,
        [0] * 4,
        [[0, 0, 40, 40], [10, 0, 40, 40], [20, 0, 40, 40], [10, 0, 40, 40]],
        crowd=[False, True, False, False],
    )
    predictions = Boxes.of(
        [0] * 4,
        [0] * 4,
        [[5, 0, 40, 40], [15, 0, 40, 40], [10, 0, 40, 40], [10, 0, 40, 40]],
        score=[0.5, 0.9, 0.5, 0.5],
    )
    against_reference(predictions, truth, classes=1, images=1)


def test_max_detections_keeps_the_best_of_an_image() -> None:
    predictions, truth = scene(3, images=4, objects=20, false_alarms=40)
    against_reference(predictions, truth, classes=3, images=4, max_detections=7)


def test_line_sets_the_sizes() -> None:
    predictions, truth = scene(5)
    against_reference(predictions, truth, classes=3, images=12, small_px=50, large_px=70)


def test_empty_images_and_a_class_without_objects() -> None:
    truth = Boxes.of([1, 1, 3], [0, 0, 0], [[0, 0, 20, 20], [50, 50, 40, 40], [9, 9, 120, 120]])
    predictions = Boxes.of(
        [1, 0, 3, 2],
        [0, 0, 0, 1],
        [[0, 0, 21, 20], [5, 5, 9, 9], [9, 9, 118, 120], [0, 0, 9, 9]],
        score=[0.9, 0.8, 0.7, 0.99],
    )
    against_reference(predictions, truth, classes=2, images=6)
    metrics = measured(judge(predictions, truth, classes=CLASSES[:2], images=6), 6)
    assert metrics["per_class"]["impurity"]["AP50"] is None
    assert metrics["AP50"] == pytest.approx(metrics["per_class"]["sperm"]["AP50"])
    assert metrics["per_class"]["sperm"]["labels"] == metrics["labels"] == 3


def test_nothing_predicted_and_nothing_labelled() -> None:
    none = Boxes.of([], [], [])
    some = Boxes.of([0], [0], [[0, 0, 10, 10]])
    blind = measured(judge(none, some, classes=CLASSES, images=2), 2)
    assert (blind["AP50"], blind["recall"], blind["precision"]) == (0.0, 0.0, None)
    empty = measured(judge(none, none, classes=CLASSES, images=2), 2)
    assert empty["AP50"] is None and empty["labels"] == 0
    json.dumps(empty, allow_nan=False)


def test_precision_recall_and_counts_by_hand() -> None:
    """Three sperm, two found (one twice), one invented: best F1 keeps the two hits above 0.5."""
    truth = Boxes.of([0, 0, 1], [0, 0, 0], [[0, 0, 40, 40], [100, 0, 40, 40], [0, 0, 40, 40]])
    predictions = Boxes.of(
        [0, 0, 0, 1],
        [0] * 4,
        [[0, 0, 40, 40], [1, 0, 40, 40], [100, 0, 40, 40], [200, 0, 40, 40]],
        score=[0.9, 0.3, 0.6, 0.2],
    )
    metrics = measured(judge(predictions, truth, classes=("sperm",), images=2), 2)
    assert metrics["score_threshold"] == 0.6
    assert metrics["precision"] == 1.0
    assert metrics["recall"] == metrics["per_class"]["sperm"]["recall"] == pytest.approx(2 / 3)
    assert metrics["F1"] == pytest.approx(0.8)
    assert metrics["fixed_threshold"]["precision"] == pytest.approx(2 / 3)
    assert metrics["count_mae"] == pytest.approx(0.5)
    assert metrics["count_per_frame"]["sperm"] == {"labelled": 1.5, "predicted": 1.0, "bias": -0.5}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("small_px, large_px", [(32.0, 96.0), (60.0, 75.0)])
def test_every_ap_and_ar_of_a_judgement_equals_the_reference(seed: int, small_px: float, large_px: float) -> None:
    """Overall, by class and by size, with crowds, ties, empty images, and a fourth class that nobody labelled."""
    predictions, truth = scene(seed, images=10, objects=5, crowds=0.2, ties=True)
    there = np.isin(truth.image, [0, 1, 2, 5, 6, 9])
    truth = Boxes.of(truth.image[there], truth.label[there], truth.xywh[there], crowd=truth.crowd[there])
    predictions.label[::17] = 3
    classes = (*CLASSES, "ghost")
    expected = coco_evaluate(
        predictions, truth, classes=4, images=10, small_px=small_px, large_px=large_px, max_detections=500
    )
    found = measured(judge(predictions, truth, classes=classes, images=10, small_px=small_px, large_px=large_px), 10)
    precision, recall = (
        np.asarray(expected[name]) for name in ("precision", "recall")
    )  # [T, R, K, A, M], [T, K, A, M]

    def known(values: np.ndarray) -> float | None:
        return float(values[values > -1].mean()) if (values > -1).any() else None

    parts = {(): (slice(None), 0), **{("per_class", name): (k, 0) for k, name in enumerate(classes)}}
    parts |= {("per_size", size): (slice(None), a) for a, size in enumerate(("small", "medium", "large"), start=1)}
    for path, (k, a) in parts.items():
        wanted = {
            "AP50": known(precision[0, :, k, a, 0]),
            "AP50_95": known(precision[:, :, k, a, 0]),
            "AR": known(recall[:, k, a, 0]),
        }
        for name, value in wanted.items():
            assert find(found, (*path, name)) == (value if value is None else pytest.approx(value, abs=1e-6)), (
                path,
                name,
            )
    assert found["per_class"]["ghost"]["AP50"] is None and found["per_class"]["ghost"]["labels"] == 0


def test_the_line_can_fix_the_threshold() -> None:
    predictions, truth = scene(3)
    fixed = measured(judge(predictions, truth, classes=CLASSES, images=12, score_threshold=0.25), 12)
    assert fixed["score_threshold"] == 0.25 and fixed["score_threshold_from"] == "the line"
    for name, value in fixed["fixed_threshold"].items():
        if name != "score_threshold":
            assert fixed[name] == pytest.approx(value), name
    best = measured(judge(predictions, truth, classes=CLASSES, images=12), 12)
    assert best["score_threshold_from"] == "the highest F1" and best["F1"] > fixed["F1"]


def test_precision_and_recall_by_size_count_only_that_size() -> None:
    """A small one found; a large one found, and a large one invented."""
    truth = Boxes.of([0, 0], [0, 0], [[0, 0, 10, 10], [100, 0, 200, 200]])
    predictions = Boxes.of([0] * 3, [0] * 3, [[0, 0, 10, 10], [100, 0, 200, 200], [0, 300, 150, 150]], score=[0.9] * 3)
    sizes = measured(judge(predictions, truth, classes=("sperm",), images=1), 1)["per_size"]
    assert sizes["small"]["precision"] == sizes["small"]["recall"] == 1.0
    assert sizes["large"]["precision"] == 0.5 and sizes["large"]["recall"] == 1.0
    assert sizes["medium"]["precision"] is None and sizes["medium"]["recall"] is None


def test_each_recording_is_judged_as_if_alone() -> None:
    predictions, truth = scene(11)
    index = np.array([0] * 5 + [1] * 7)
    parts = measured_by(judge(predictions, truth, classes=CLASSES, images=12), ["a.mp4", "b.mp4"], index)
    here, there = predictions.image >= 5, truth.image >= 5
    alone = judge(
        Boxes.of(predictions.image[here] - 5, predictions.label[here], predictions.xywh[here], predictions.score[here]),
        Boxes.of(truth.image[there] - 5, truth.label[there], truth.xywh[there]),
        classes=CLASSES,
        images=7,
    )
    expected = measured(alone, 7)
    assert parts["b.mp4"]["AP50"] == pytest.approx(expected["AP50"])
    assert parts["b.mp4"]["per_class"]["cell"]["AP50_95"] == pytest.approx(expected["per_class"]["cell"]["AP50_95"])
    assert (parts["b.mp4"]["images"], parts["b.mp4"]["labels"]) == (7, expected["labels"])


def test_mistakes_and_confusion_by_hand() -> None:
    truth = Boxes.of([0, 0, 0], [0, 1, 0], [[0, 0, 40, 40], [100, 0, 40, 40], [300, 0, 40, 40]])
    predictions = Boxes.of([0, 0, 0], [0, 0, 1], [[0, 0, 40, 40], [100, 0, 40, 40], [200, 0, 40, 40]], score=[0.9] * 3)
    marks = pair_boxes(predictions, truth, 0.5)
    assert marks.partner.tolist() == [0, 1, -1] and marks.found_by.tolist() == [0, 1, -1]
    judged = judge(predictions, truth, classes=("sperm", "impurity"), images=1)
    assert judged.confusion is not None
    assert judged.confusion.counts == ((1, 1, 0), (0, 0, 1), (1, 0, 0))
    assert judged.errors.tolist() == [3.0]


def test_every_metric_named_for_gates_is_measured() -> None:
    predictions, truth = scene(1)
    judged = judge(predictions, truth, classes=CLASSES, images=12)
    values = judged.statistic(np.ones((1, 12), dtype=np.int64))
    assert values.keys() == judged.support.keys()
    nested = tree({path: float(value[0]) for path, value in values.items()})
    for metric in METRICS:
        assert (metric.name in nested) == metric.paired
        assert (metric.name in nested["per_class"]["sperm"]) == (metric.paired and "class" in metric.families)
        assert (metric.name in nested["per_size"]["small"]) == (metric.paired and "size" in metric.families)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), crowds=st.sampled_from([0.0, 0.4]), ties=st.booleans())
def test_scores_lie_between_0_and_1_and_truth_itself_scores_1(seed: int, crowds: float, ties: bool) -> None:
    predictions, truth = scene(seed, images=4, objects=6, crowds=crowds, ties=ties)
    judged = judge(predictions, truth, classes=CLASSES, images=4)
    weights = np.random.default_rng(seed).integers(0, 3, (5, 4))
    for path, values in judged.statistic(weights).items():
        if path[-1] != "count_mae":
            assert ((values >= 0) & (values <= 1) | np.isnan(values)).all(), path
    plain = ~truth.crowd
    perfect = Boxes.of(truth.image[plain], truth.label[plain], truth.xywh[plain], score=np.ones(plain.sum()))
    best = measured(judge(perfect, truth, classes=CLASSES, images=4), 4)
    assert best["AP50_95"] in (None, pytest.approx(1.0))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_boxes_does_not_matter(seed: int) -> None:
    predictions, truth = scene(seed, images=4)
    order = np.random.default_rng(seed).permutation(len(predictions.image))
    shuffled = Boxes.of(
        predictions.image[order], predictions.label[order], predictions.xywh[order], predictions.score[order]
    )
    mine = measured(judge(predictions, truth, classes=CLASSES, images=4), 4)
    assert measured(judge(shuffled, truth, classes=CLASSES, images=4), 4) == mine
