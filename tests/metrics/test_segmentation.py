"""Segmentation metrics: equal to StarDist's, Cellpose's, torchmetrics' and COCO's, and right where one can count."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tasks.metrics.bootstrap import paired_bootstrap
from tasks.metrics.judgement import Judgement, find, measured, measured_by, tree
from tasks.metrics.masks import check_counts, encode
from tasks.metrics.segmentation import METRICS, judge
from tasks.metrics.segmentation_masks import Masks
from tasks.metrics.segmentation_matching import THRESHOLDS
from tests.metrics.cells import Scene, coco_masks, masks_of, panoptic, scene, slow_aji

SEEDS = range(5)
KINDS = ("healthy", "dead", "debris")


def judged(some: Scene, classes: tuple[str, ...] = ("cell",), threshold: float | None = 0.0, **how: float) -> Judgement:
    return judge(*some.masks(), classes=classes, score_threshold=threshold, **how)


def boxes(height: int, width: int, *rectangles: tuple[int, int, int, int], scores: list[float] | None = None) -> Masks:
    """Masks of one picture: rectangles as y, x, height, width."""
    counts = []
    for y, x, h, w in rectangles:
        mask = np.zeros((height, width), dtype=np.bool_)
        mask[y : y + h, x : x + w] = True
        counts.append(encode(mask))
    return Masks.of([0] * len(counts), [0] * len(counts), counts, [[height, width]], scores)


@pytest.mark.parametrize("seed", SEEDS)
def test_pooled_values_equal_stardists(seed: int) -> None:
    from stardist.matching import matching_dataset

    some = scene(seed)
    mine = measured(judged(some), 6)
    theirs = matching_dataset(some.truth, some.predicted, thresh=THRESHOLDS.tolist(), show_progress=False)
    half = theirs[0]
    assert mine["AP50_pooled"] == pytest.approx(half.accuracy, abs=1e-9)
    assert mine["AP_pooled"] == pytest.approx(np.mean([at.accuracy for at in theirs]), abs=1e-9)
    assert mine["F1_50"] == pytest.approx(half.f1, abs=1e-9)
    assert (mine["precision"], mine["recall"]) == pytest.approx((half.precision, half.recall), abs=1e-9)
    assert mine["PQ"] == pytest.approx(half.panoptic_quality, abs=1e-6), "it sums IoU in float32"
    assert mine["SQ"] == pytest.approx(half.mean_matched_score, abs=1e-6)
    assert 0.1 < mine["AP50_pooled"] < 1, "or the scene shows nothing"


@pytest.mark.parametrize("seed", SEEDS)
def test_means_over_pictures_equal_cellposes(seed: int) -> None:
    from cellpose.metrics import average_precision

    some = scene(seed, empty=False)
    mine = measured(judged(some), 6)
    theirs = average_precision(some.truth, some.predicted, threshold=THRESHOLDS.tolist())[0]
    assert mine["AP50_mean"] == pytest.approx(theirs[:, 0].mean(), abs=1e-6)
    assert mine["AP_mean"] == pytest.approx(theirs.mean(), abs=1e-6)
    assert mine["AP50_mean"] != pytest.approx(mine["AP50_pooled"], abs=1e-6), "they are two numbers"


@pytest.mark.parametrize("seed", SEEDS)
def test_panoptic_quality_equals_torchmetrics(seed: int) -> None:
    some = scene(seed, classes=3)
    mine = measured(judged(some, KINDS), 6)
    theirs = panoptic(some, 3)
    for row, name in enumerate(("PQ", "SQ", "RQ")):
        for column, label in enumerate(KINDS):
            assert mine["per_class"][label][name] == pytest.approx(theirs[row, column], abs=1e-6), (name, label)
        assert mine[name] == pytest.approx(theirs[row].mean(), abs=1e-6), f"{name}: it sums IoU in float32"


@pytest.mark.parametrize("seed", SEEDS)
def test_mask_ap_equals_cocos_over_all_classes_and_sizes(seed: int) -> None:
    some = scene(seed, classes=3, ties=True)
    predictions, truth = some.masks()
    precision = np.asarray(coco_masks(predictions, truth, classes=3, small_px=9, large_px=14)["precision"])
    mine = measured(judged(some, KINDS, None, small_px=9, large_px=14), 6)

    def known(values: np.ndarray) -> float | None:
        return float(values[values > -1].mean()) if (values > -1).any() else None

    parts = {(): (slice(None), 0), **{("per_class", name): (k, 0) for k, name in enumerate(KINDS)}}
    parts |= {("per_size", size): (slice(None), a) for a, size in enumerate(("small", "medium", "large"), start=1)}
    for path, (k, a) in parts.items():
        for name, wanted in (("mask_AP50", precision[0, :, k, a, 0]), ("mask_AP", precision[:, :, k, a, 0])):
            value = known(wanted)
            assert find(mine, (*path, name)) == (value if value is None else pytest.approx(value, abs=1e-6)), path


@pytest.mark.parametrize("seed", SEEDS)
def test_aji_equals_kumars_algorithm(seed: int) -> None:
    some = scene(seed)
    each = [slow_aji(truth, found) for truth, found in zip(some.truth, some.predicted, strict=True)]
    expected = np.mean([shared / united for shared, united in each if united])
    assert measured(judged(some), 6)["AJI"] == pytest.approx(expected, abs=1e-9)


def test_aji_equals_cellposes_where_no_outline_meets_two_cells() -> None:
    """Theirs pairs one to one, and takes all foreground as the union: elsewhere it is another number."""
    from cellpose.metrics import aggregated_jaccard_index

    truth, found = np.zeros((2, 40, 60), dtype=np.int32)
    for number, x in enumerate((2, 20, 40), 1):
        truth[5:20, x : x + 12] = number
        found[7 : 18 + number, x : x + 10] = number
    found[30:35, 5:15] = 4
    some = Scene([truth], [found], [np.zeros(3, np.int64)], [np.zeros(4, np.int64)], [np.ones(4)])
    expected = aggregated_jaccard_index([truth], [found])[0]
    assert measured(judged(some), 1)["AJI"] == pytest.approx(expected, abs=1e-9)


def test_a_cell_of_the_wrong_class_is_one_too_many_and_one_too_few() -> None:
    square = boxes(20, 20, (2, 2, 10, 10), scores=[0.9])
    wrong = Masks.of([0], [1], square.counts, [[20, 20]], [0.9])
    truth = boxes(20, 20, (2, 2, 10, 10))
    assert measured(judge(square, truth, classes=KINDS[:2]), 1)["AP50_pooled"] == 1.0
    found = judge(wrong, truth, classes=KINDS[:2])
    values = measured(found, 1)
    assert (values["AP50_pooled"], values["PQ"], values["AJI"], values["boundary_F"]) == (0.0, 0.0, 0.0, 0.0)
    assert {kind.name: kind.count for kind in found.breakdown}["classification"] == 1 and found.errors.tolist() == [1.0]
    assert found.confusion is not None and found.confusion.counts[1][0] == 1


def test_an_iou_of_exactly_a_half_is_enough_for_ap_and_not_for_pq() -> None:
    """Of two predictions that are half of a cell each, one finds it."""
    truth = boxes(10, 20, (0, 0, 10, 10))
    halves = boxes(10, 20, (0, 0, 10, 5), (0, 5, 10, 5), scores=[0.9, 0.8])
    values = measured(judge(halves, truth, classes=("cell",), score_threshold=0.0), 1)
    assert values["AP50_pooled"] == 0.5 and values["F1_50"] == pytest.approx(2 / 3)
    assert values["PQ"] == values["RQ"] == 0.0
    assert values["AJI"] == pytest.approx(50 / (100 + 50))


def test_contested_cells_are_matched_so_that_most_are_found() -> None:
    """Masks that overlap: taking the best pair first would leave one cell alone; StarDist's assignment does not."""
    truth = boxes(10, 40, (0, 0, 10, 20), (0, 0, 10, 14))
    found = boxes(10, 40, (0, 0, 10, 18), (0, 0, 10, 28), scores=[0.9, 0.8])  # IoU .9 .71 / .78 .5
    assert measured(judge(found, truth, classes=("cell",), score_threshold=0.0), 1)["AP50_pooled"] == 1.0


def test_size_counts_misses_by_the_cell_and_false_alarms_by_the_prediction() -> None:
    truth = boxes(40, 90, (0, 0, 4, 4), (0, 20, 30, 30))
    found = boxes(40, 90, (0, 0, 4, 4), (30, 60, 5, 5), scores=[0.9, 0.9])
    values = measured(judge(found, truth, classes=("cell",), small_px=6, large_px=20), 1)
    sizes = values["per_size"]
    assert (sizes["small"]["AP50_pooled"], sizes["large"]["AP50_pooled"], sizes["medium"]["AP50_pooled"]) == (
        0.5, 0.0, None,
    )  # fmt: skip
    assert (sizes["small"]["labels"], sizes["large"]["labels"], values["AP50_pooled"]) == (1, 1, pytest.approx(1 / 3))


def test_the_threshold_is_the_lines_or_the_best_f1() -> None:
    truth = boxes(20, 60, (0, 0, 10, 10), (0, 20, 10, 10))
    found = boxes(20, 60, (0, 0, 10, 10), (0, 20, 10, 10), (0, 40, 10, 10), scores=[0.9, 0.6, 0.2])
    best = measured(judge(found, truth, classes=("cell",)), 1)
    assert (best["score_threshold"], best["score_threshold_from"], best["AP50_pooled"]) == (0.6, "the highest F1", 1.0)
    fixed = measured(judge(found, truth, classes=("cell",), score_threshold=0.1), 1)
    assert fixed["AP50_pooled"] == pytest.approx(2 / 3) and fixed["score_threshold_from"] == "the line"
    assert fixed["count_mae"] == 1.0 and fixed["count_per_frame"]["cell"]["bias"] == 1.0
    assert fixed["mask_AP"] == best["mask_AP"] == 1.0, "COCO's needs no threshold"


def test_each_kind_of_errors_costs_what_putting_it_right_gains() -> None:
    """One right, one displaced (IoU 0.43), one invented, one missed: 1 / (1 + 2 + 2)."""
    truth = boxes(30, 90, (0, 0, 10, 10), (0, 20, 10, 10), (15, 60, 10, 10))
    found = boxes(30, 90, (0, 0, 10, 10), (0, 24, 10, 10), (15, 40, 5, 5), scores=[0.9, 0.9, 0.9])
    of = {kind.name: kind for kind in judge(found, truth, classes=("cell",)).breakdown}
    assert {name: kind.count for name, kind in of.items() if kind.count} == {
        "localisation": 1, "background": 1, "missed": 1,
    }  # fmt: skip
    assert of["localisation"].cost == pytest.approx(2 / 4 - 1 / 5)
    assert of["background"].cost == pytest.approx(1 / 4 - 1 / 5)
    assert of["missed"].cost == pytest.approx(1 / 4 - 1 / 5)


def test_every_metric_named_for_gates_is_measured_and_perfect_masks_score_1() -> None:
    some = scene(3, classes=3)
    found = judged(some, KINDS)
    values = found.statistic(np.ones((1, 6), dtype=np.int64))
    assert values.keys() == found.support.keys()
    nested = tree({path: float(value[0]) for path, value in values.items()})
    for metric in METRICS:
        assert (metric.name in nested) == metric.paired
        assert (metric.name in nested["per_class"]["dead"]) == (metric.paired and "class" in metric.families)
        assert (metric.name in nested["per_size"]["small"]) == (metric.paired and "size" in metric.families)
    _, truth = some.masks()
    itself = masks_of(some.truth, some.classes, [np.ones(len(own)) for own in some.classes])
    best = measured(judge(itself, truth, classes=KINDS), 6)
    assert {name for name in nested if name.islower() is False and best.get(name) not in (1.0, None)} <= {"ECE"}
    assert best["count_mae"] == 0.0 and best["boundary_F"] == best["recall"] == 1.0


def test_nothing_predicted_and_nothing_labelled() -> None:
    none, some = Masks.of([], [], [], [[10, 10]], []), boxes(10, 10, (0, 0, 4, 4))
    blind = measured(judge(none, some, classes=("cell",)), 1)
    assert [blind[name] for name in ("AP50_pooled", "AP50_mean", "PQ", "AJI", "boundary_F", "mask_AP", "recall")] == [
        0
    ] * 7
    assert blind["precision"] is None
    empty = measured(judge(none, none, classes=("cell",)), 1)
    assert empty["AP50_pooled"] is None and empty["PQ"] is None and empty["AJI"] is None and empty["labels"] == 0
    json.dumps(empty, allow_nan=False)


def test_weights_are_repetitions_and_parts_are_judged_as_if_alone() -> None:
    some = scene(5, classes=2)
    found = judged(some, KINDS[:2])
    index = np.array([0, 0, 0, 1, 1, 1])
    parts = measured_by(found, ["a", "b"], index)
    alone = Scene(*(getattr(some, name)[3:] for name in Scene.__dataclass_fields__))
    expected = measured(judged(alone, KINDS[:2]), 3)
    for metric in METRICS:
        if metric.paired:
            assert parts["b"][metric.name] == pytest.approx(expected[metric.name], abs=1e-9), metric.name
            assert parts["b"]["per_class"]["dead"][metric.name] == pytest.approx(
                expected["per_class"]["dead"][metric.name], abs=1e-9
            )
    twice = Scene(*([*getattr(some, name), getattr(some, name)[4]] for name in Scene.__dataclass_fields__))
    values = found.statistic(np.array([[1, 1, 1, 1, 2, 1]]))
    for path, value in judged(twice, KINDS[:2]).statistic(np.ones((1, 7), dtype=np.int64)).items():
        assert value[0] == pytest.approx(values[path][0], abs=1e-9, nan_ok=True), path


def test_a_better_model_is_surely_better_over_pictures() -> None:
    """The paired bootstrap takes the statistic as it is."""
    some = scene(7, images=12)
    itself = masks_of(some.truth, some.classes, [np.ones(len(own)) for own in some.classes])
    _, truth = some.masks()
    both = {"better": judge(itself, truth, classes=("cell",)).statistic, "worse": judged(some).statistic}
    drawn = paired_bootstrap(both, np.arange(12), resamples=200, seed=0)
    assert drawn is not None
    for name in ("AP50_pooled", "AP_mean", "PQ", "AJI", "boundary_F", "mask_AP"):
        assert drawn.differences("better", "worse")[(name,)].min() > 0, name


def test_run_lengths_of_another_picture_are_refused() -> None:
    with pytest.raises(ValueError, match="mask 0 of picture 0: run lengths of 100 pixels cannot be a mask of 12 x 10"):
        Masks.of([0], [0], [encode(np.eye(10))], [[10, 12]])


def test_run_lengths_whose_sum_overflows_are_refused() -> None:
    """Their sum is 10 x 12 in 64 bits, and pycocotools keeps 32 of each: it would give pixels far outside."""
    runs = [2**58] * 64
    runs[0], runs[1], runs[2] = runs[0] + 2**31, runs[1] + 2**31 + 120, runs[2] - 2**32
    assert sum(runs) % 2**64 == 120
    differences = [run if place <= 2 else run - runs[place - 2] for place, run in enumerate(runs)]
    with pytest.raises(ValueError, match="cannot be a mask of 12 x 10"):
        check_counts("".join(map(leb128, differences)), 10, 12)


def leb128(value: int) -> str:
    """A whole number in COCO's code."""
    text, more = "", True
    while more:
        code, value = value & 31, value >> 5
        more = value != (-1 if code & 16 else 0)
        text += chr(48 + (code | 32 if more else code))
    return text
