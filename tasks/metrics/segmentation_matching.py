"""Cells matched one to one at a score threshold, and what is counted of it: for AP, F1, PQ and AJI.

StarDist (`stardist.matching`, Schmidt et al. 2018, arXiv:1806.03535) and Cellpose (`cellpose.metrics`, Stringer et al.
2021) match alike: of all ways to pair predictions and truths with an IoU of at least t, one with the most pairs, and of
these one with the largest sum of IoU (`scipy.optimize.linear_sum_assignment`). Where masks of one side do not overlap
each other, only pairs of exactly 0.5 leave a choice.

Cells of different classes never match: a cell of the wrong class is one too many and one too few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.metrics.judgement import FloatArray, IntArray
from tasks.metrics.matching import BoolArray
from tasks.metrics.segmentation_masks import Masks, Overlaps

THRESHOLDS: FloatArray = np.round(np.arange(9) * 0.05 + 0.5, 2)
"""IoU 0.50, 0.55 ... 0.90, those of StarDist's paper."""
UNIT = 10**10
"""IoU are summed as whole parts of this: such sums are exact, in whatever order a processor takes them."""


@dataclass(frozen=True)
class Counts:
    """Of one class, or of several together, in every picture.

    Attributes:
        tp, fp, fn: int64 [I, T], true positives, false positives and misses at each of `THRESHOLDS`.
        matched: int64 [I], pairs with an IoU above 0.5, as panoptic quality counts them; `claimed`, `there`: int64
            [I], all predictions and truths that count.
        iou: int64 [I], their IoU summed, in parts of `UNIT`.
    """

    tp: IntArray
    fp: IntArray
    fn: IntArray
    matched: IntArray
    claimed: IntArray
    there: IntArray
    iou: IntArray

    @classmethod
    def together(cls, several: Sequence[Counts]) -> Counts:
        """The sum."""
        return cls(*(np.sum([getattr(own, name) for own in several], axis=0) for name in cls.__dataclass_fields__))


@dataclass(frozen=True)
class Jaccard:
    """What the aggregated Jaccard index is made of: pixels of each picture, int64 [I], shared and united."""

    shared: IntArray
    united: IntArray


def count_by_size(
    predictions: Masks, truth: Masks, found: Overlaps, ranges: Mapping[str, tuple[float, float]]
) -> dict[str, Counts]:
    """Match one class at every threshold, and count in every range of area.

    Of a range count the truths that lie in it, the predictions matched to them, and those predictions that are matched
    to nothing and lie in it themselves. What is matched to a truth of another range counts nowhere else.

    Args:
        predictions: Of one class, at or above the score threshold.
        truth: Of that class.
        found: Which of them overlap.
        ranges: Name -> least and largest area in pixels, both belonging to it.
    """
    near = found.where(found.iou >= THRESHOLDS[0])
    chosen = one_to_one(near, predictions.image, THRESHOLDS)
    partner = np.full((len(predictions.image), len(THRESHOLDS)), -1, dtype=np.int64)
    pair, t = np.nonzero(chosen)
    partner[near.prediction[pair], t] = near.truth[pair]
    return {
        name: _counted(
            predictions, truth, near, chosen, partner,
            (predictions.area >= low) & (predictions.area <= high), (truth.area >= low) & (truth.area <= high),
        )
        for name, (low, high) in ranges.items()
    }  # fmt: skip


def _counted(
    predictions: Masks, truth: Masks, near: Overlaps, chosen: BoolArray, partner: IntArray, own: BoolArray,
    asked: BoolArray,
) -> Counts:  # fmt: skip
    images = truth.images

    def per_image(image: IntArray, flags: BoolArray) -> IntArray:
        return np.stack([np.bincount(image[flag], minlength=images) for flag in flags.T], axis=1)

    hit = (partner >= 0) & (asked[partner] if len(asked) else False)
    wrong = (partner == -1) & own[:, None]
    there = np.bincount(truth.image[asked], minlength=images)
    tp, fp = per_image(predictions.image, hit), per_image(predictions.image, wrong)
    # Panoptic quality asks for more than 0.5; a pair of exactly 0.5 is then two errors.
    at_half = chosen[:, 0] & (near.iou <= 0.5)
    sure = chosen[:, 0] & (near.iou > 0.5) & asked[near.truth]
    alone = partner[:, 0] == -1
    alone[near.prediction[at_half]] = True
    where = truth.image[near.truth[sure]]
    matched = np.bincount(where, minlength=images)
    iou = np.zeros(images, dtype=np.int64)
    np.add.at(iou, where, np.rint(near.iou[sure] * UNIT).astype(np.int64))
    claimed = matched + np.bincount(predictions.image[alone & own], minlength=images)
    return Counts(tp, fp, there[:, None] - tp, matched, claimed, there, iou)


def one_to_one(near: Overlaps, image: IntArray, thresholds: FloatArray) -> BoolArray:
    """Which pairs are matched at each threshold, bool [P, T].

    Args:
        near: Pairs of one class.
        image: int [D], the predictions' pictures.
        thresholds: IoU, float64 [T].
    """
    chosen: BoolArray = near.iou[:, None] >= thresholds
    for t in range(len(thresholds)):
        live = np.flatnonzero(chosen[:, t])
        d, g = near.prediction[live], near.truth[live]
        if not len(live):
            continue
        contested = live[(np.bincount(d)[d] > 1) | (np.bincount(g)[g] > 1)]
        chosen[contested, t] = False
        for number in np.unique(image[near.prediction[contested]]):
            own = contested[image[near.prediction[contested]] == number]
            chosen[own[_assigned(near.prediction[own], near.truth[own], near.iou[own])], t] = True
    return chosen


def _assigned(d: IntArray, g: IntArray, iou: FloatArray) -> IntArray:
    """Places of the pairs that are chosen among contested ones: the most pairs, then the largest sum of IoU."""
    from scipy.optimize import linear_sum_assignment

    rows, row = np.unique(d, return_inverse=True)
    columns, column = np.unique(g, return_inverse=True)
    gain = np.zeros((len(rows), len(columns)))
    gain[row, column] = 1 + iou / (2 * min(gain.shape))
    taken = np.zeros(gain.shape, dtype=np.bool_)
    taken[linear_sum_assignment(gain, maximize=True)] = True
    return np.flatnonzero(taken[row, column])


def jaccard(predictions: Masks, truth: Masks, found: Overlaps) -> Jaccard:
    """The aggregated Jaccard index' pixels of one class (Kumar et al. 2017, IEEE Trans. Med. Imaging 36:1550).

    Every truth is joined to the prediction of largest IoU, which several truths may share; what both share and unite is
    summed. Truths that meet nothing, and predictions that no truth is joined to, are added to the union.
    """
    images = truth.images
    order = np.lexsort((-found.prediction, found.iou))  # of equals the first prediction; the last one written stays
    best = np.full(len(truth.image), -1, dtype=np.int64)
    best[found.truth[order]] = order
    pair = best[best >= 0]
    shared, united = np.zeros(images, dtype=np.int64), np.zeros(images, dtype=np.int64)
    d, g = found.prediction[pair], found.truth[pair]
    np.add.at(shared, truth.image[g], found.shared[pair])
    both = predictions.area[d] + truth.area[g] - found.shared[pair]
    np.add.at(united, truth.image[g], both.astype(np.int64))
    unused = np.ones(len(predictions.image), dtype=np.bool_)
    unused[d] = False
    for masks, alone in ((predictions, unused), (truth, best < 0)):
        np.add.at(united, masks.image[alone], masks.area[alone].astype(np.int64))
    return Jaccard(shared, united)
