"""Masks of all pictures of a split, and how they overlap. Run lengths are compared as they are, never as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.metrics import masks
from tasks.metrics.judgement import FloatArray
from tasks.metrics.matching import BoolArray, IntArray, Objects, Pairs

_BLOCK = 4_000_000
"""Pairs of one picture that are compared at once: 32 MB."""


@dataclass(frozen=True)
class Masks:
    """Masks over all pictures of a split.

    Attributes:
        image: int64 [N], index of the picture.
        label: int64 [N], index of the class.
        score: float64 [N] for predictions, all zero for truth.
        counts: N texts, COCO's run lengths (`tasks.metrics.masks`).
        size_px: int64 [I, 2], height and width of every picture.
        area: float64 [N], pixels.
        crowd: bool [N], all false: a cell is one cell.
    """

    image: IntArray
    label: IntArray
    score: FloatArray
    counts: tuple[str, ...]
    size_px: IntArray
    area: FloatArray
    crowd: BoolArray

    @classmethod
    def of(cls, image: object, label: object, counts: Sequence[str], size_px: object, score: object = None) -> Masks:
        """Make from anything array-like, empty included.

        Raises:
            ValueError: Run lengths are not of a mask of their picture's size; naming the first one's place.
        """
        where = np.asarray(image, dtype=np.int64).reshape(-1)
        size = np.asarray(size_px, dtype=np.int64).reshape(-1, 2)
        for place, (text, (height, width)) in enumerate(zip(counts, size[where].tolist(), strict=True)):
            try:
                masks.check_counts(text, height, width)
            except ValueError as error:
                raise ValueError(f"mask {place} of picture {where[place]}: {error}") from None
        return cls(
            image=where,
            label=np.asarray(label, dtype=np.int64).reshape(-1),
            score=np.zeros(len(where)) if score is None else np.asarray(score, dtype=np.float64).reshape(-1),
            counts=tuple(counts),
            size_px=size,
            area=masks.areas(_coco(counts, size[where])).astype(np.float64),
            crowd=np.zeros(len(where), dtype=np.bool_),
        )

    @property
    def images(self) -> int:
        """How many pictures there are, those without a mask included."""
        return len(self.size_px)

    def kept(self, keep: BoolArray) -> Masks:
        """Those that are to be kept, bool [N]."""
        return Masks(
            self.image[keep], self.label[keep], self.score[keep],
            tuple(text for text, stays in zip(self.counts, keep.tolist(), strict=True) if stays),
            self.size_px, self.area[keep], self.crowd[keep],
        )  # fmt: skip

    def of_class(self, label: int) -> tuple[Objects, IntArray]:
        """One class's objects, and their places here."""
        own = np.flatnonzero(self.label == label)
        return Objects(self.image[own], self.area[own], self.score[own], self.crowd[own]), own

    def coco(self, places: IntArray) -> list[dict[str, Any]]:
        """Some of them in the form that pycocotools takes."""
        return _coco([self.counts[place] for place in places], self.size_px[self.image[places]])


@dataclass(frozen=True)
class Overlaps:
    """All (prediction, truth) pairs that share a pixel, whatever their classes.

    Attributes:
        prediction, truth: int [P], their places.
        iou: float64 [P], as COCO computes it.
        shared: int64 [P], pixels that both have.
    """

    prediction: IntArray
    truth: IntArray
    iou: FloatArray
    shared: IntArray

    def where(self, chosen: BoolArray) -> Overlaps:
        """Some of them, bool [P]."""
        return Overlaps(self.prediction[chosen], self.truth[chosen], self.iou[chosen], self.shared[chosen])

    def pairs(self, least: float) -> Pairs:
        """Those with an IoU of at least so much."""
        near = self.iou >= least
        return Pairs(self.prediction[near], self.truth[near], self.iou[near])

    def of_places(self, predictions: IntArray, truth: IntArray) -> Overlaps:
        """Those among some predictions and truths, by their places among these; places are int [n], rising."""
        inside = np.isin(self.prediction, predictions) & np.isin(self.truth, truth)
        own = self.where(inside)
        return Overlaps(
            np.searchsorted(predictions, own.prediction), np.searchsorted(truth, own.truth), own.iou, own.shared
        )


def overlaps(predictions: Masks, truth: Masks) -> Overlaps:
    """Every pair that shares a pixel.

    pycocotools compares run lengths only where boxes overlap, so that a picture of n cells costs about n comparisons.
    """
    parts = [part for d, g in _blocks(predictions.image, truth.image) for part in [_shared(predictions, truth, d, g)]]
    if not parts:
        none = np.zeros(0, dtype=np.intp)
        return Overlaps(none, none, np.zeros(0), none)
    return Overlaps(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _shared(
    predictions: Masks, truth: Masks, d: IntArray, g: IntArray
) -> tuple[IntArray, IntArray, FloatArray, IntArray]:
    iou = masks.iou(predictions.coco(d), truth.coco(g))
    row, column = np.nonzero(iou > 0)
    found = iou[row, column]
    both = predictions.area[d[row]] + truth.area[g[column]]
    # iou = shared / (both - shared), and `shared` is whole: exact as long as areas are below some 10^15.
    return d[row], g[column], found, np.rint(found * both / (1 + found)).astype(np.int64)


def _blocks(image: IntArray, truth_image: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
    """Places of predictions and truths of each picture that has both; of many, some predictions at a time."""
    for number in np.intersect1d(image, truth_image):
        d, g = np.flatnonzero(image == number), np.flatnonzero(truth_image == number)
        step = max(1, _BLOCK // len(g))
        yield from ((d[start : start + step], g) for start in range(0, len(d), step))


def _coco(counts: Sequence[str], size_px: IntArray) -> list[dict[str, Any]]:
    return [masks.as_coco(text, *size) for text, size in zip(counts, size_px.tolist(), strict=True)]
