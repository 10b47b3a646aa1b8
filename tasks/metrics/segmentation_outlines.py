"""How well outlines lie on outlines: the boundary F of Csurka et al. 2013 (BMVC) and of DAVIS (Perazzi et al. 2016).

    precision = share of the predicted outlines' pixels that lie within `TOLERANCE_PX` of a true outline
    recall    = share of the true outlines' pixels that lie within `TOLERANCE_PX` of a predicted outline
    F         = 2 precision recall / (precision + recall)

A cell's outline are its pixels that touch, by a side, what is not this cell: ground or another cell. The picture's edge
is no outline, nobody draws it. Distances are Euclidean between pixels' centres. The pixels of all pictures are pooled.
Cellpose's `boundary_scores` is another number: it counts pixels that have exactly one outline pixel around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.metrics.judgement import IntArray
from tasks.metrics.masks import runs_of
from tasks.metrics.matching import BoolArray
from tasks.metrics.segmentation_masks import Masks

TOLERANCE_PX = 2


@dataclass(frozen=True)
class OutlineHits:
    """Pixels of outlines in each picture, int64 [I]: those near the other side's, and all."""

    near_truth: IntArray
    predicted: IntArray
    near_prediction: IntArray
    true: IntArray


def pixels_of(counts: str, height_px: int) -> tuple[IntArray, IntArray]:
    """Rows and columns of a mask's pixels, int64 [n] each, down the columns; of checked run lengths."""
    runs = runs_of(counts)
    ends = np.cumsum(runs)
    length = runs[1::2]
    first = ends[1::2] - length
    flat = np.repeat(first - np.concatenate([[0], np.cumsum(length)[:-1]]), length) + np.arange(int(length.sum()))
    return flat % height_px, flat // height_px


def painted(counts: Sequence[str], height_px: int, width_px: int) -> NDArray[np.int32]:
    """Masks as a label image [height, width]: 0 the ground, else 1 + the mask's place. Of two, the later covers."""
    out = np.zeros((height_px, width_px), dtype=np.int32)
    for number, text in enumerate(counts, 1):
        out[pixels_of(text, height_px)] = number
    return out


def outlines(labels: NDArray[np.int32]) -> BoolArray:
    """The inner outlines of a label image, bool [height, width]."""
    edge = np.zeros(labels.shape, dtype=np.bool_)
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    return edge & (labels > 0)


def outline_hits(predictions: Masks, truth: Masks, tolerance_px: int = TOLERANCE_PX) -> OutlineHits:
    """Compare the outlines of one class, or of all together, in every picture."""
    import cv2

    reach = np.arange(-tolerance_px, tolerance_px + 1)
    disc = (reach[:, None] ** 2 + reach**2 <= tolerance_px**2).astype(np.uint8)
    out = np.zeros((4, truth.images), dtype=np.int64)
    mine, theirs = _by_image(predictions), _by_image(truth)
    for image in mine.keys() | theirs.keys():
        height, width = (int(side) for side in truth.size_px[image])
        found, true = (outlines(painted(own.get(image, []), height, width)) for own in (mine, theirs))
        around_found, around_true = (cv2.dilate(edge.view(np.uint8), disc) > 0 for edge in (found, true))
        pairs = (found & around_true, found, true & around_found, true)
        out[:, image] = [np.count_nonzero(part) for part in pairs]
    return OutlineHits(*out)


def _by_image(masks: Masks) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for image, text in zip(masks.image.tolist(), masks.counts, strict=True):
        found.setdefault(image, []).append(text)
    return found
