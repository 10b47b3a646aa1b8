"""Labels that models contradict: what is asked of one model, and that all that were asked agree."""

from __future__ import annotations

import numpy as np

from tasks.metrics.boxes import Boxes, overlapping
from tasks.metrics.error_kinds import FOUND, NEAR, Named
from tasks.metrics.label_doubts import Doubt, Look, find_doubts
from tasks.metrics.matching import Pairs

SPERM, IMPURITY = 0, 1
Box = tuple[int, int, float, float, float]
"""Image, class, x, y, score; every box is 10 by 10."""


def boxes(*found: Box) -> Boxes:
    return Boxes.of(
        [box[0] for box in found], [box[1] for box in found], [[box[2], box[3], 10, 10] for box in found],
        score=[box[4] for box in found],
    )  # fmt: skip


def doubts(truth: Boxes, *models: Boxes, asked: list[list[bool]] | None = None, images: int = 2) -> list[Doubt]:
    """Threshold 0.25; without `asked` every model was asked about every image."""
    looks = [
        Look(
            Named(own.image, own.label, own.score, own.crowd),
            Pairs(*overlapping(own.xywh, own.image, truth.xywh, truth.image, truth.crowd, NEAR)),
            np.array((asked or [[True] * images] * len(models))[place]), 0.25,
        )
        for place, own in enumerate(models)
    ]  # fmt: skip

    def overlap(one: int, two: int) -> Pairs:
        first, second = models[one], models[two]
        return Pairs(*overlapping(first.xywh, first.image, second.xywh, second.image, second.crowd, FOUND))

    return find_doubts(looks, Named(truth.image, truth.label, truth.score, truth.crowd), overlap)


TRUTH = boxes((0, SPERM, 0, 0, 0), (0, SPERM, 40, 0, 0), (1, IMPURITY, 0, 0, 0))
RIGHT: tuple[Box, ...] = ((0, SPERM, 0, 0, 0.8), (0, SPERM, 40, 0, 0.6), (1, IMPURITY, 0, 0, 0.7))


def test_a_model_that_is_right_doubts_nothing() -> None:
    assert doubts(TRUTH, boxes(*RIGHT)) == []


def test_what_is_sure_and_not_labelled_is_named_and_what_is_unsure_is_not() -> None:
    found = doubts(TRUTH, boxes(*RIGHT, (1, SPERM, 60, 60, 0.9), (1, SPERM, 80, 80, 0.65), (0, SPERM, 3, 3, 0.9)))
    assert [(one.sort, one.image, one.prediction, one.truth) for one in found] == [("unlabelled", 1, 3, -1)], (
        "the median of what was right is 0.7; and a box near a label is not one without"
    )
    assert found[0].score == 0.9 and found[0].models == 1


def test_a_label_of_another_class_is_named_unless_its_own_class_is_found_there_too() -> None:
    wrong = [box for box in RIGHT if box[0] == 0]
    found = doubts(TRUTH, boxes(*wrong, (1, SPERM, 1, 0, 0.95)))
    assert [(one.sort, one.image, one.truth) for one in found] == [("otherwise", 1, 2)], "once"
    assert doubts(TRUTH, boxes(*RIGHT, (1, SPERM, 1, 0, 0.95))) == []


def test_a_label_that_is_found_with_the_lowest_score_is_found_and_one_that_is_only_come_near_is_not() -> None:
    assert doubts(TRUTH, boxes(*RIGHT[:2], (1, IMPURITY, 0, 0, 0.01))) == []
    found = doubts(TRUTH, boxes(*RIGHT[:2], (1, IMPURITY, 5, 0, 0.1)))
    assert [(one.sort, one.truth, one.score) for one in found] == [("unfound", 2, 0.1)]


def test_all_models_that_were_asked_about_an_image_must_agree() -> None:
    extra = (1, SPERM, 60, 60, 0.9)
    both = doubts(TRUTH, boxes(*RIGHT, extra), boxes(*RIGHT, (1, SPERM, 61, 60, 0.95)))
    assert [(one.sort, one.models) for one in both] == [("unlabelled", 2)]
    assert doubts(TRUTH, boxes(*RIGHT, extra), boxes(*RIGHT)) == []
    assert doubts(TRUTH, boxes(*RIGHT, extra), boxes(*RIGHT, (1, IMPURITY, 60, 60, 0.95))) == [], "another class"
    apart = doubts(TRUTH, boxes(*RIGHT, extra), boxes(*RIGHT), asked=[[True, True], [True, False]])
    assert [(one.sort, one.models) for one in apart] == [("unlabelled", 1)], "the other was not asked about that image"


def test_each_fold_speaks_for_its_own_images() -> None:
    one, two = boxes(*RIGHT[:1]), boxes(*RIGHT[2:], (1, SPERM, 60, 60, 0.9))
    found = doubts(TRUTH, one, two, asked=[[True, False], [False, True]])
    assert [(each.sort, each.image, each.look) for each in found] == [("unlabelled", 1, 1), ("unfound", 0, -1)]


def test_crowds_and_images_that_nobody_was_asked_about_are_left_alone() -> None:
    crowd = Boxes.of([0, 1], [SPERM, SPERM], [[0, 0, 10, 10], [0, 0, 80, 80]], crowd=[False, True])
    assert doubts(crowd, boxes((0, SPERM, 0, 0, 0.5), (1, SPERM, 20, 20, 0.9))) == []
    assert doubts(TRUTH, boxes(*RIGHT[:2]), asked=[[True, False]]) == []


def test_a_model_that_finds_next_to_nothing_is_not_believed() -> None:
    assert doubts(TRUTH, boxes((1, SPERM, 60, 60, 0.99))) == []
    assert doubts(TRUTH, boxes(RIGHT[0])) == [], "one of three"
    (one,) = doubts(TRUTH, boxes(*RIGHT[:2]), boxes(RIGHT[0]))
    assert (one.sort, one.truth, one.models) == ("unfound", 2, 1), "it does not count among those that agree"
    assert doubts(boxes(), boxes()) == [] and doubts(TRUTH) == []
