"""Matching predicted objects to labelled ones by COCO's rules, for one class at a time.

The rules are those of pycocotools' `evaluateImg` (Lin et al., https://cocodataset.org/#detection-eval): within an
image, predictions are taken by falling score; each takes the free truth it overlaps most, at or above the IoU
threshold; a truth to be ignored (crowd, or outside the area range) is taken only when no other fits; a crowd may be
taken many times; a prediction that took an ignored truth, or took nothing and lies outside the area range, is itself
ignored. Among equal overlaps the last truth wins, among equal scores the earlier prediction.

What overlaps with what is the caller's business (boxes, masks): this module sees only candidate pairs with their IoU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.intp]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

IOU_THRESHOLDS: FloatArray = np.linspace(0.5, 0.95, 10, dtype=np.float64)
"""COCO's ten: 0.50, 0.55 ... 0.95."""


@dataclass(frozen=True)
class Objects:
    """Objects of one class over all images of a split.

    Attributes:
        image: int [N], index of the image each object is in.
        area: float64 [N], in px².
        score: float64 [N] for predictions; all zero for truth.
        crowd: bool [N] for truth: a region of many, which neither counts as a miss nor as a false alarm.
    """

    image: IntArray
    area: FloatArray
    score: FloatArray
    crowd: BoolArray


@dataclass(frozen=True)
class Pairs:
    """Overlapping (prediction, truth) pairs of one class: indices int [P] each, and their IoU, float64 [P].

    Pairs below the lowest IoU threshold may be left out; pairs across images must not occur.
    """

    prediction: IntArray
    truth: IntArray
    iou: FloatArray


@dataclass(frozen=True)
class Matches:
    """The cached matches of one class in one area range; all that average precision needs.

    Attributes:
        score: float64 [D], falling.
        tp: bool [D, 10], true positive at each IoU threshold.
        ignored: bool [D, 10], counts neither for nor against.
        image: int [D], index of each prediction's image.
        index: int [D], the prediction's place in the input.
        positives: int [I], truths to be found per image.
        partner: int32 [D, 10], the truth that each prediction took, by its place in the input; -1 = none.
    """

    score: FloatArray
    tp: BoolArray
    ignored: BoolArray
    image: IntArray
    index: IntArray
    positives: IntArray
    partner: NDArray[np.int32]


def match(
    predictions: Objects,
    truth: Objects,
    pairs: Pairs,
    *,
    images: int,
    ranges: Mapping[str, tuple[float, float]],
    max_detections: int,
    thresholds: FloatArray = IOU_THRESHOLDS,
) -> dict[str, Matches]:
    """Match one class in every area range at once.

    Args:
        predictions: D predicted objects, in any order.
        truth: G labelled objects.
        pairs: Which of them overlap, and how much.
        images: I, the number of images, including those without any object.
        ranges: Name -> (least, largest area in px²), both ends belonging to the range as in COCO.
        max_detections: Predictions of this class an image may keep, best first.
        thresholds: IoU thresholds, float64 [T].

    Returns:
        Range name -> its `Matches`.
    """
    kept, rank = _by_rank(predictions, images, max_detections)
    bounds = np.array(list(ranges.values()), dtype=np.float64).reshape(-1, 2)
    outside = (predictions.area[:, None] < bounds[:, 0]) | (predictions.area[:, None] > bounds[:, 1])
    ignorable = (truth.area[:, None] < bounds[:, 0]) | (truth.area[:, None] > bounds[:, 1]) | truth.crowd[:, None]
    shape = (len(predictions.image), len(bounds), len(thresholds))
    tp = np.zeros(shape, dtype=np.bool_)
    ignored = np.broadcast_to(outside[:, :, None], shape).copy()
    partner = _assign(kept, rank, pairs, truth.crowd, ignorable, np.minimum(thresholds, 1 - 1e-10), tp, ignored)

    order = kept[np.argsort(-predictions.score[kept], kind="stable")]
    return {
        name: Matches(
            score=predictions.score[order],
            tp=tp[order, r],
            ignored=ignored[order, r],
            image=predictions.image[order],
            index=order,
            positives=np.bincount(truth.image[~ignorable[:, r]], minlength=images),
            partner=partner[order, r],
        )
        for r, name in enumerate(ranges)
    }


def _by_rank(predictions: Objects, images: int, limit: int) -> tuple[IntArray, IntArray]:
    """Predictions sorted by image then falling score, without those past the limit; and each one's rank, int [D]."""
    order = np.lexsort((-predictions.score, predictions.image))  # stable: ties keep the input's order
    counts = np.bincount(predictions.image, minlength=images)
    starts = np.concatenate(([0], np.cumsum(counts)))[:-1]
    place = np.arange(len(order)) - starts[predictions.image[order]]
    rank = np.empty(len(order), dtype=np.intp)
    rank[order] = place
    return order[place < limit], rank


def _assign(
    kept: IntArray,
    rank: IntArray,
    pairs: Pairs,
    crowd: BoolArray,
    ignorable: BoolArray,
    thresholds: FloatArray,
    tp: BoolArray,
    ignored: BoolArray,
) -> NDArray[np.int32]:
    """COCO's greedy assignment, the k-th best prediction of all images at once; writes `tp` and `ignored`.

    Returns:
        int32 [D, ranges, T], which truth each prediction took; -1 = none.
    """
    partner = np.full(tp.shape, -1, dtype=np.int32)
    allowed = np.zeros(len(rank), dtype=np.bool_)
    allowed[kept] = True
    chosen = allowed[pairs.prediction] & (pairs.iou >= thresholds.min())
    # A prediction's candidates from the last truth to the first: argmax then prefers the last of equals, as COCO does.
    order = np.lexsort((-pairs.truth[chosen], pairs.prediction[chosen], rank[pairs.prediction[chosen]]))
    prediction, gt = pairs.prediction[chosen][order], pairs.truth[chosen][order]
    iou = pairs.iou[chosen][order]
    taken = np.zeros((*ignorable.shape, len(thresholds)), dtype=np.bool_)
    steps = np.flatnonzero(np.diff(rank[prediction], prepend=-1, append=-1))
    for start, stop in pairwise(steps):
        who, candidates, overlap = _padded(prediction[start:stop], gt[start:stop], iou[start:stop])
        real = overlap >= 0
        free = (~taken[candidates] | crowd[candidates][:, :, None, None]) & real[:, :, None, None]
        free &= overlap[:, :, None, None] >= thresholds
        plain = free & ~ignorable[candidates][:, :, :, None]
        any_plain = np.asarray(plain.any(axis=1))
        free = np.where(any_plain[:, None], plain, free)
        best = np.where(free, overlap[:, :, None, None], -1.0).argmax(axis=1)  # [n, ranges, thresholds]
        found = free.any(axis=1)
        n, r, t = np.nonzero(found)
        truth = candidates[n, best[n, r, t]]
        taken[truth, r, t] = True
        partner[who[n], r, t] = truth
        tp[who] = any_plain
        ignored[who] = np.where(found, ~any_plain, ignored[who])
    return partner


def _padded(prediction: IntArray, gt: IntArray, iou: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Ragged candidate lists as [n, K] arrays; an IoU of -1 marks an empty place."""
    who, first, counts = np.unique(prediction, return_index=True, return_counts=True)
    column = np.arange(len(prediction)) - np.repeat(first, counts)
    row = np.repeat(np.arange(len(who)), counts)
    candidates = np.zeros((len(who), int(counts.max())), dtype=np.intp)
    overlap = np.full(candidates.shape, -1.0)
    candidates[row, column] = gt
    overlap[row, column] = iou
    return who, candidates, overlap
