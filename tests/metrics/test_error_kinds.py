"""Kinds of errors: each by hand, and what must hold for any detector."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.metrics.boxes import Boxes, overlapping
from tasks.metrics.detection import judge, match_classes, size_ranges
from tasks.metrics.error_kinds import KINDS, NEAR, Errors, Named, ap_without, error_kinds, find_errors
from tasks.metrics.judgement import measured
from tasks.metrics.matching import Pairs
from tests.metrics.reference import scene

CLASSES = ("sperm", "impurity", "cell")
HERE = [0.0, 0.0, 40.0, 40.0]
FAR = [300.0, 300.0, 40.0, 40.0]


def named(boxes: Boxes) -> Named:
    return Named(boxes.image, boxes.label, boxes.score, boxes.crowd)


def errors_of(predictions: Boxes, truth: Boxes, images: int = 1) -> Errors:
    of = match_classes(predictions, truth, classes=3, images=images, ranges=size_ranges(32, 96))
    near = overlapping(predictions.xywh, predictions.image, truth.xywh, truth.image, truth.crowd, NEAR)
    return find_errors(named(predictions), named(truth), Pairs(*near), [own["all"] for own in of])


def shifted(x: float) -> list[float]:
    """`HERE` moved to the right: IoU (40 - x) / (40 + x)."""
    return [x, 0.0, 40.0, 40.0]


ONE = Boxes.of([0], [0], [HERE])


@pytest.mark.parametrize(
    ("kind", "boxes", "labels"),
    [
        ("classification", [HERE], [1]),
        ("localisation", [shifted(20)], [0]),  # IoU 1/3
        ("both", [shifted(20)], [1]),
        ("duplicate", [HERE, HERE], [0, 0]),
        ("background", [FAR], [0]),
        ("background", [shifted(36)], [0]),  # IoU 1/19
    ],
)
def test_each_kind_by_hand(kind: str, boxes: list[list[float]], labels: list[int]) -> None:
    score = [0.9, 0.8][: len(boxes)]
    judged = judge(Boxes.of([0] * len(boxes), labels, boxes, score=score), ONE, classes=CLASSES, images=1,
                   score_threshold=0.5)  # fmt: skip
    counts = {found.name: found.count for found in judged.breakdown}
    missed = kind in ("background", "both")
    assert counts == {name: int(name == kind or (name == "missed" and missed)) for name in KINDS}


def test_what_each_kind_costs_by_hand() -> None:
    """One of two sperm found at 0.5, behind a box that is nowhere (0.9) and one of another class (0.8).

    AP50 of sperm: recall 0.5 at precision 1/2, hence 51 of 101 levels at 0.5.
    """
    truth = Boxes.of([0, 0], [0, 0], [HERE, [100, 0, 40, 40]])
    predictions = Boxes.of([0] * 3, [0, 1, 0], [FAR, HERE, [100, 0, 40, 40]], score=[0.9, 0.8, 0.5])
    judged = judge(predictions, truth, classes=CLASSES, images=1)
    cost = {found.name: found.cost for found in judged.breakdown}
    now = 51 / 101 * 0.5
    assert measured(judged, 1)["AP50"] == pytest.approx(now)
    assert cost["background"] == pytest.approx(51 / 101 - now)
    # The wrong class put right, sperm holds: wrong (0.9), right (0.8), right (0.5): 2/3 at every recall.
    assert cost["classification"] == pytest.approx(2 / 3 - now)
    assert cost["localisation"] == cost["both"] == cost["duplicate"] == cost["missed"] == 0


TIDECV: dict[int, dict[str, Any]] = {
    0: {"AP50": 0.013366, "classification": (2, 0.007859), "localisation": (13, 0.119851), "both": (4, 0.0),
        "duplicate": (1, 0.0), "background": (57, 0.036139), "missed": (18, 0.018849)},
    7: {"AP50": 0.004233, "classification": (1, 0.0), "localisation": (28, 0.191829), "both": (12, 0.000452),
        "duplicate": (0, 0.0), "background": (76, 0.00542), "missed": (41, 0.005485)},
    19: {"AP50": 0.052647, "classification": (2, 0.008631), "localisation": (15, 0.101221), "both": (7, 0.001425),
         "duplicate": (2, 0.0), "background": (63, 0.019709), "missed": (24, 0.059826)},
}  # fmt: skip
"""What the authors' own code (tidecv 1.0.1) says of three random scenes: counts, and costs in AP50."""


@pytest.mark.parametrize("seed", TIDECV)
def test_equals_the_authors_code(seed: int) -> None:
    predictions, truth = scene(seed, images=8, objects=12, jitter=0.35, false_alarms=6)
    judged = judge(predictions, truth, classes=CLASSES, images=8, score_threshold=0.0)
    expected = dict(TIDECV[seed])
    assert measured(judged, 8)["AP50"] == pytest.approx(expected.pop("AP50"), abs=1e-6)
    assert {kind.name: kind.count for kind in judged.breakdown} == {
        name: count for name, (count, _) in expected.items()
    }
    for kind in judged.breakdown:
        assert kind.cost == pytest.approx(expected[kind.name][1], abs=1e-6), kind.name


def test_a_missed_one_costs_what_it_is_asked_for() -> None:
    truth = Boxes.of([0, 0], [0, 0], [HERE, FAR])
    judged = judge(Boxes.of([0], [0], [HERE], score=[0.9]), truth, classes=CLASSES, images=1)
    missed = next(found for found in judged.breakdown if found.name == "missed")
    assert missed.count == 1 and missed.cost == pytest.approx(1 - 51 / 101)


def test_a_truth_that_another_error_would_find_is_not_missed() -> None:
    errors = errors_of(Boxes.of([0], [1], [HERE], score=[0.9]), ONE)
    assert not errors.missed.any()


def test_of_two_claims_on_a_truth_the_better_wins() -> None:
    """A localisation and a classification error at the same sperm: only the one of higher score can take it."""
    predictions = Boxes.of([0, 0], [0, 1], [shifted(20), HERE], score=[0.6, 0.9])
    errors = errors_of(predictions, ONE)
    assert errors.target.tolist() == [-1, 0]
    assert ap_without(errors, {"classification"}) == pytest.approx(1.0)  # the other one stays, behind it
    assert ap_without(errors, {"localisation"}) == 0.0


def test_what_lies_on_a_crowd_is_no_error() -> None:
    truth = Boxes.of([0, 0], [0, 0], [HERE, [200, 200, 200, 200]], crowd=[False, True])
    predictions = Boxes.of([0] * 3, [0] * 3, [HERE, [210, 210, 40, 40], [300, 300, 40, 40]], score=[0.9, 0.8, 0.7])
    errors = errors_of(predictions, truth)
    assert (errors.kind == -1).all() and not errors.missed.any()


def test_counts_are_of_what_is_shown_and_costs_of_everything() -> None:
    """A box below the threshold is not shown: its truth counts as missed, but costs nothing, as AP finds it."""
    truth = Boxes.of([0, 0], [0, 0], [HERE, FAR])
    predictions = Boxes.of([0, 0], [0, 0], [HERE, FAR], score=[0.9, 0.2])
    judged = judge(predictions, truth, classes=CLASSES, images=1, score_threshold=0.5)
    missed = next(found for found in judged.breakdown if found.name == "missed")
    assert (missed.count, missed.cost) == (1, 0.0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), crowds=st.sampled_from([0.0, 0.3]), ties=st.booleans())
def test_what_holds_for_any_detector(seed: int, crowds: float, ties: bool) -> None:
    predictions, truth = scene(seed, images=5, objects=10, crowds=crowds, ties=ties, jitter=0.4)
    errors = errors_of(predictions, truth, images=5)
    now = measured(judge(predictions, truth, classes=CLASSES, images=5), 5)["AP50"]
    plain = ~truth.crowd
    if not plain.any():
        assert np.isnan(ap_without(errors, ()))
        return
    assert ap_without(errors, ()) == pytest.approx(now), "the breakdown must start from the AP50 that is reported"
    assert ap_without(errors, KINDS) == 1.0, "everything put right is perfect"
    wrong = errors.counted & ~errors.right
    assert (errors.kind[wrong] >= 0).all() and (errors.kind[~wrong] == -1).all(), "every error has one kind"
    assert errors.right.sum() + (errors.target >= 0).sum() + errors.missed.sum() == plain.sum()
    for name in KINDS:
        assert ap_without(errors, {name}) >= now - 0.02, name


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_perfect_detector_costs_nothing(seed: int) -> None:
    _, truth = scene(seed, images=4, crowds=0.2)
    plain = ~truth.crowd
    perfect = Boxes.of(truth.image[plain], truth.label[plain], truth.xywh[plain], score=np.full(plain.sum(), 0.9))
    judged = judge(perfect, truth, classes=CLASSES, images=4)
    assert all((found.count, found.cost) == (0, 0.0) for found in judged.breakdown)


def test_nothing_predicted_is_all_missed_and_nothing_labelled_all_background() -> None:
    none = Boxes.of([], [], [])
    blind = {f.name: (f.count, f.cost) for f in judge(none, ONE, classes=CLASSES, images=1).breakdown}
    assert blind == {name: (1, 1.0) if name == "missed" else (0, 0.0) for name in KINDS}
    empty = judge(Boxes.of([0], [0], [HERE], score=[0.9]), none, classes=CLASSES, images=1, score_threshold=0.5)
    assert {f.name: f.count for f in empty.breakdown} == {name: int(name == "background") for name in KINDS}


def test_outlines_of_any_sort_will_do() -> None:
    """Only overlaps are asked for: with those of masks, a box error may be none."""
    predictions = Boxes.of([0], [0], [shifted(20)], score=[0.9])
    of = match_classes(predictions, ONE, classes=1, images=1, ranges=size_ranges(32, 96))
    pairs = Pairs(np.array([0]), np.array([0]), np.array([0.2]))
    found = error_kinds(named(predictions), named(ONE), pairs, [own["all"] for own in of], shown_from=0.5)
    assert {f.name: f.count for f in found}["localisation"] == 1
    apart = error_kinds(named(predictions), named(ONE), replace(pairs, iou=np.array([0.05])),
                        [own["all"] for own in of], shown_from=0.5)  # fmt: skip
    assert {f.name: f.count for f in apart}["background"] == 1
