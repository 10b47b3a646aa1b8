"""Agreement of two people's boxes: the definition, its symmetry, and a greedy matching that is the plain one."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.metrics.boxes import Boxes, overlapping
from tasks.metrics.label_agreement import (
    LabelAgreement,
    aggregate_label_agreement,
    agreement_of,
    compute_label_agreement,
)


def boxes(*rows: tuple[int, int, float, float]) -> Boxes:
    """(image, class, x, y) of boxes of 10 x 10 px."""
    return Boxes.of([r[0] for r in rows], [r[1] for r in rows], [[r[2], r[3], 10, 10] for r in rows])


def test_the_same_boxes_agree_wholly_and_others_not_at_all() -> None:
    one = boxes((0, 0, 0, 0), (0, 1, 50, 50), (1, 0, 0, 0))
    same, other = compute_label_agreement(one, one, 2), compute_label_agreement(one, boxes((1, 1, 0, 0)), 2)
    assert [own.f1 for own in same] == [1, 1]
    assert [own.f1 for own in other] == [0, 0]


def test_f1_counts_what_only_one_of_them_drew() -> None:
    first = boxes((0, 0, 0, 0), (0, 0, 30, 0), (0, 0, 60, 0))
    second = boxes((0, 0, 1, 0), (0, 0, 90, 0))
    (found,) = compute_label_agreement(first, second, 1)
    assert found == LabelAgreement(matched=1, first=3, second=2)
    assert found.f1 == pytest.approx(2 / 5)


def test_a_frame_that_both_call_empty_says_nothing() -> None:
    (found,) = compute_label_agreement(boxes(), boxes(), 1)
    assert found.f1 is None
    assert aggregate_label_agreement([found, LabelAgreement(1, 1, 1)]).f1 == 1


def test_one_box_is_the_partner_of_one() -> None:
    (found,) = compute_label_agreement(boxes((0, 0, 0, 0)), boxes((0, 0, 0, 0), (0, 0, 1, 0)), 1)
    assert found.matched == 1


@pytest.mark.parametrize("seed", range(20))
def test_the_matching_is_the_greedy_one_and_symmetric(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = (
        Boxes.of(rng.integers(0, 3, 60), np.zeros(60), np.c_[rng.uniform(0, 25, (60, 2)), rng.uniform(8, 14, (60, 2))])
        for _ in range(2)
    )
    one, two, iou = overlapping(first.xywh, first.image, second.xywh, second.image, second.crowd, 0.3)
    mine, theirs, matched = set(), set(), 0
    for i in np.lexsort((two, one, -iou)):
        if one[i] not in mine and two[i] not in theirs:
            mine.add(one[i])
            theirs.add(two[i])
            matched += 1
    assert matched > 10
    assert compute_label_agreement(first, second, 1, 0.3)[0].matched == matched
    assert compute_label_agreement(second, first, 1, 0.3)[0].matched == matched


def test_the_agreement_of_overlaps_pairs_each_object_once() -> None:
    iou = np.array([[0.9, 0.8, 0.0], [0.7, 0.6, 0.0], [0.0, 0.0, 0.4]])
    assert agreement_of(iou) == LabelAgreement(2, 3, 3)
    assert agreement_of(iou, least_iou=0.4) == LabelAgreement(3, 3, 3)
    assert agreement_of(np.zeros((0, 4))) == LabelAgreement(0, 0, 4)
