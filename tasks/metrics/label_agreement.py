"""How far two people agree who drew boxes or masks on the same frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.metrics.boxes import Boxes, overlapping
from tasks.metrics.matching import FloatArray, IntArray

LEAST_IOU = 0.5
"""Two boxes that overlap less do not mean the same object."""


@dataclass(frozen=True)
class LabelAgreement:
    """Two people's objects of one class, matched one to one.

    Attributes:
        matched: Objects that both drew.
        first: Objects that the one drew.
        second: Objects that the other drew.
    """

    matched: int = 0
    first: int = 0
    second: int = 0

    @property
    def f1(self) -> float | None:
        """F1 = 2 matched / (first + second): 1 = the same objects, 0 = none in common; None where nobody drew any.

        It is the same whichever of the two is taken for the truth (Hripcsak & Rothschild 2005,
        https://doi.org/10.1197/jamia.M1733: without countable true negatives, F1 is what kappa tends to).
        """
        drawn = self.first + self.second
        return 2 * self.matched / drawn if drawn else None

    def __add__(self, other: LabelAgreement) -> LabelAgreement:
        return LabelAgreement(self.matched + other.matched, self.first + other.first, self.second + other.second)


def compute_label_agreement(
    first: Boxes, second: Boxes, classes: int, least_iou: float = LEAST_IOU
) -> list[LabelAgreement]:
    """Match two people's boxes, class by class, on the images that both labelled.

    Partners are boxes of one class and image whose IoU is at least `least_iou`, paired by falling IoU.

    Args:
        first: The one's boxes.
        second: The other's, on the same images.
        classes: How many classes there are.
        least_iou: From which overlap on two boxes mean the same object, in (0, 1].

    Returns:
        One entry a class.
    """
    return [_of_class(first, second, label, least_iou) for label in range(classes)]


def agreement_of(iou: FloatArray, least_iou: float = LEAST_IOU) -> LabelAgreement:
    """Match two people's objects of one class on one image, paired as `compute_label_agreement` does.

    Args:
        iou: float64 [n, m], of each of the one's with each of the other's.
        least_iou: From which overlap on two mean the same object.
    """
    one, two = np.nonzero(iou >= least_iou)
    return LabelAgreement(_matched(one, two, iou[one, two]), *iou.shape)


def aggregate_label_agreement(parts: list[LabelAgreement]) -> LabelAgreement:
    """Counts over classes or frames, pooled: every object counts the same."""
    return sum(parts, LabelAgreement())


def _of_class(first: Boxes, second: Boxes, label: int, least_iou: float) -> LabelAgreement:
    mine, my_boxes, _ = first.of_class(label)
    theirs, their_boxes, _ = second.of_class(label)
    nobody = np.zeros(len(their_boxes), dtype=np.bool_)
    one, two, iou = overlapping(my_boxes, mine.image, their_boxes, theirs.image, nobody, least_iou)
    return LabelAgreement(_matched(one, two, iou), len(my_boxes), len(their_boxes))


def _matched(one: IntArray, two: IntArray, iou: FloatArray) -> int:
    """How many pairs the greedy matching by falling IoU makes.

    A pair that is the best left for both its boxes is one that the greedy matching takes, whatever else it takes: so
    all of these are taken at once, and the rest looked at again.
    """
    order = np.lexsort((two, one, -iou))
    one, two = one[order], two[order]
    total = 0
    while len(one):
        taken = np.intersect1d(np.unique(one, return_index=True)[1], np.unique(two, return_index=True)[1])
        total += len(taken)
        left = ~(np.isin(one, one[taken]) | np.isin(two, two[taken]))
        one, two = one[left], two[left]
    return total
