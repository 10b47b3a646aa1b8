"""Axis-aligned boxes given as x, y, width, height in pixels, and how they overlap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tasks.metrics.matching import BoolArray, FloatArray, IntArray, Objects

_BLOCK = 500_000
"""Pairs compared at once; bounds the memory for dense frames."""


@dataclass(frozen=True)
class Boxes:
    """Boxes over all images of a split.

    Attributes:
        image: int64 [N], index of the image.
        label: int64 [N], index of the class.
        xywh: float64 [N, 4], pixels from the top left corner.
        score: float64 [N] for predictions, all zero for truth.
        crowd: bool [N] for truth; all false for predictions.
    """

    image: IntArray
    label: IntArray
    xywh: FloatArray
    score: FloatArray
    crowd: BoolArray

    @classmethod
    def of(
        cls,
        image: object,
        label: object,
        xywh: object,
        score: object = None,
        crowd: object = None,
    ) -> Boxes:
        """Make from anything array-like, empty included."""
        where = np.asarray(image, dtype=np.int64).reshape(-1)
        return cls(
            image=where,
            label=np.asarray(label, dtype=np.int64).reshape(-1),
            xywh=np.asarray(xywh, dtype=np.float64).reshape(-1, 4),
            score=np.zeros(len(where)) if score is None else np.asarray(score, dtype=np.float64).reshape(-1),
            crowd=np.zeros(len(where), np.bool_) if crowd is None else np.asarray(crowd, dtype=np.bool_).reshape(-1),
        )

    def of_class(self, label: int) -> tuple[Objects, FloatArray, IntArray]:
        """One class's objects, their boxes, and their places here."""
        own = np.flatnonzero(self.label == label)
        area = self.xywh[own, 2] * self.xywh[own, 3]
        return Objects(self.image[own], area, self.score[own], self.crowd[own]), self.xywh[own], own


def paired_iou(first: FloatArray, second: FloatArray, crowd: BoolArray) -> FloatArray:
    """IoU of boxes one to one; over the first's own area where the second is a crowd, as COCO does.

    Args:
        first: float64 [N, 4], predictions.
        second: float64 [N, 4], truth.
        crowd: bool [N].

    Returns:
        float64 [N].
    """
    low = np.maximum(first[:, :2], second[:, :2])
    high = np.minimum(first[:, :2] + first[:, 2:], second[:, :2] + second[:, 2:])
    side = np.maximum(high - low, 0)
    shared = side[:, 0] * side[:, 1]
    own = first[:, 2] * first[:, 3]
    union = np.where(crowd, own, own + second[:, 2] * second[:, 3] - shared)
    iou = np.zeros(len(shared))
    np.divide(shared, union, out=iou, where=union > 0)
    return iou


def overlapping(
    boxes: FloatArray, image: IntArray, truth: FloatArray, truth_image: IntArray, crowd: BoolArray, least: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """All pairs within the same image whose IoU is at least `least`.

    Args:
        boxes: float64 [D, 4]; `image`: int [D].
        truth: float64 [G, 4]; `truth_image`: int [G]; `crowd`: bool [G].
        least: The lowest IoU of interest.

    Returns:
        Index of the box, index of the truth, IoU: [P] each.
    """
    found = [
        (d[near], g[near], iou[near])
        for d, g in _same_image(image, truth_image)
        for iou in [paired_iou(boxes[d], truth[g], crowd[g])]
        for near in [iou >= least]
    ]
    if not found:
        return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp), np.zeros(0)
    d, g, iou = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return d, g, iou


def _same_image(image: IntArray, truth_image: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
    """Index pairs of boxes and truths that share an image, in blocks."""
    if not len(image) or not len(truth_image):
        return
    by_image = np.argsort(truth_image, kind="stable")
    first = np.searchsorted(truth_image[by_image], image, side="left")
    count = np.searchsorted(truth_image[by_image], image, side="right") - first
    block = np.cumsum(count) // _BLOCK
    for start, stop in _runs(block):
        n = count[start:stop]
        d = np.repeat(np.arange(start, stop), n)
        within = np.arange(len(d)) - np.repeat(np.cumsum(n) - n, n)
        yield d, by_image[np.repeat(first[start:stop], n) + within]


def _runs(values: IntArray) -> Iterator[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(values, prepend=values[0] - 1, append=values[-1] + 1))
    yield from zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
