"""Anchors: a few sizes of boxes that stand for all, as detectors with anchors start from.

Boxes are clustered by k-means whose distance is 1 - IoU, where a box and an anchor share their middle: large boxes then
count no more than small ones. Redmon, Farhadi: YOLO9000: Better, Faster, Stronger, CVPR 2017, section 2 ("Dimension
clusters", arXiv 1612.08242). How many anchors are worth having is where the curve of the mean best IoU bends: the
place farthest from the straight line between its ends (Satopaa and others: Finding a "Kneedle" in a Haystack, 2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST = 9
"""Anchors, as in YOLO: three for each of three levels."""
_MOST_BOXES = 20_000
_ROUNDS = 100
LEVELS = (2, 3, 4, 5, 6, 7)
_SIDES_PER_STRIDE = 4
"""An anchor's side over its level's stride, as in RetinaNet (Lin and others, ICCV 2017, arXiv 1708.02002, 4): 32 px on
P3, whose stride is 8."""


@dataclass(frozen=True)
class Anchors:
    """So many anchors, and how well they fit.

    Attributes:
        sizes: Width and height, float64 [k, 2], smallest area first.
        mean_iou: Of each box with the anchor that fits it best, the mean.
        matched: Share of boxes whose best anchor reaches an IoU of 0.5.
    """

    sizes: Floats
    mean_iou: float
    matched: float


def iou_of_sizes(boxes: Floats, anchors: Floats) -> Floats:
    """Intersection over union of boxes and anchors that share their middle.

    Args:
        boxes: Width and height, float64 [n, 2], more than 0.
        anchors: As `boxes`, [k, 2].

    Returns:
        float64 [n, k].
    """
    shared = np.minimum(boxes[:, None], anchors[None]).prod(axis=2)
    return np.asarray(shared / (boxes.prod(axis=1)[:, None] + anchors.prod(axis=1) - shared), dtype=np.float64)


def cluster_anchors(boxes: Floats, count: int, *, seed: int = 0) -> Anchors:
    """Anchors for boxes; the same arguments give the same.

    Args:
        boxes: Width and height, float64 [n, 2], more than 0; n at least 1. Of very many, some are looked at.
        count: How many anchors at most: never more than there are sizes.
        seed: Of where the clusters begin.
    """
    rng = np.random.default_rng(seed)
    if len(boxes) > _MOST_BOXES:
        boxes = boxes[rng.choice(len(boxes), _MOST_BOXES, replace=False)]
    middles = _beginnings(boxes, count, rng)
    own = np.full(len(boxes), -1)
    for _ in range(_ROUNDS):
        nearest = iou_of_sizes(boxes, middles).argmax(axis=1)
        if (nearest == own).all():
            break
        own = nearest
        middles = np.stack(
            [boxes[own == n].mean(axis=0) if (own == n).any() else middles[n] for n in range(len(middles))]
        )
    best = iou_of_sizes(boxes, middles).max(axis=1)
    sizes = middles[np.argsort(middles.prod(axis=1), kind="stable")]
    return Anchors(sizes, float(best.mean()), float((best >= 0.5).mean()))


def _beginnings(boxes: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Boxes to begin with, likelier the worse those before fit them (k-means++, Arthur and Vassilvitskii 2007)."""
    chosen = boxes[[int(rng.integers(len(boxes)))]]
    while len(chosen) < count:
        far = np.square(1 - iou_of_sizes(boxes, chosen).max(axis=1))
        if far.sum() <= 1e-12 * len(boxes):
            break  # no box is of another size
        chosen = np.concatenate([chosen, boxes[[int(rng.choice(len(boxes), p=far / far.sum()))]]])
    return chosen


def elbow(values: Sequence[float]) -> int:
    """The place in a rising curve after which more brings little, from 0; the only place there is, if so."""
    if len(values) < 3 or values[-1] <= values[0]:
        return len(values) - 1 if len(values) and values[-1] > values[0] else 0
    x = np.linspace(0, 1, len(values))
    y = (np.array(values) - values[0]) / (values[-1] - values[0])
    return int(np.argmax(y - x))


def pyramid_level(boxes: Floats) -> NDArray[np.int64]:
    """The level of a feature pyramid that finds a box of that size: 2 (stride 4) to 7 (stride 128), int64 [n].

    The nearest one by RetinaNet's rule, an anchor of four strides; what is smaller or larger goes to the outermost.
    """
    side = np.sqrt(boxes.prod(axis=1))
    nearest = np.rint(np.log2(np.maximum(side, 1e-6) / _SIDES_PER_STRIDE))
    return np.asarray(np.clip(nearest, LEVELS[0], LEVELS[-1]), dtype=np.int64)
