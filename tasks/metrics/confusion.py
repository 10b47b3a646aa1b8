"""What a finder got wrong at one score threshold, object by object: for the worst frames and the confusion table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tasks.metrics.boxes import Boxes, overlapping
from tasks.metrics.judgement import Confusion, FloatArray, IntArray
from tasks.metrics.matching import BoolArray, Pairs


class Located(Protocol):
    """Objects of all classes: boxes, masks. What overlaps with what is not asked here.

    Attributes:
        image: int [N], index of the image; `label`: int [N], of the class; `score`: float64 [N], zeros for truths.
        crowd: bool [N], for truths: a region of many.
    """

    @property
    def image(self) -> IntArray: ...
    @property
    def label(self) -> IntArray: ...
    @property
    def score(self) -> FloatArray: ...
    @property
    def crowd(self) -> BoolArray: ...


@dataclass(frozen=True)
class Pairing:
    """Who found what at the score threshold, at IoU 0.5, one to one, whatever the class.

    Attributes:
        partner: int64 [D], the truth each prediction found, -1 = none, -2 = below the threshold or on a crowd.
        found_by: int64 [G], the prediction that found each truth, -1 = missed.
    """

    partner: IntArray
    found_by: IntArray


def pair_boxes(predictions: Boxes, truth: Boxes, score: float) -> Pairing:
    """`pair_objects` of boxes."""
    near = overlapping(predictions.xywh, predictions.image, truth.xywh, truth.image, truth.crowd, 0.5)
    return pair_objects(predictions, truth, Pairs(*near), score)


def pair_objects(predictions: Located, truth: Located, pairs: Pairs, score: float) -> Pairing:
    """Pair predictions and truths one to one by falling IoU, same class before other class.

    Args:
        predictions, truth: Of all classes.
        pairs: Those that overlap with an IoU of 0.5 or more.
        score: Predictions from this score on count.
    """
    partner = np.where(predictions.score >= score, -1, -2)
    found_by = np.full(len(truth.image), -1, dtype=np.int64)
    d, g, iou = pairs.prediction, pairs.truth, pairs.iou
    live = partner[d] == -1
    d, g, iou = d[live], g[live], iou[live]
    other = predictions.label[d] != truth.label[g]
    for i in np.lexsort((g, d, -iou, other)):
        if truth.crowd[g[i]] or partner[d[i]] != -1 or found_by[g[i]] != -1:
            continue
        partner[d[i]], found_by[g[i]] = g[i], d[i]
    on_crowd = d[truth.crowd[g]]
    partner[on_crowd[partner[on_crowd] == -1]] = -2
    return Pairing(partner=partner.astype(np.int64), found_by=found_by)


def errors_per_image(predictions: Located, truth: Located, marks: Pairing, images: int) -> FloatArray:
    """False alarms, misses and wrong classes per image."""
    wrong = marks.partner == -1
    found = marks.partner >= 0
    wrong[found] = predictions.label[found] != truth.label[marks.partner[found]]
    missed = (marks.found_by == -1) & ~truth.crowd
    total = np.bincount(predictions.image[wrong], minlength=images) + np.bincount(truth.image[missed], minlength=images)
    return total.astype(np.float64)


def confusion(classes: tuple[str, ...], predictions: Located, truth: Located, marks: Pairing) -> Confusion:
    n = len(classes)
    counts = np.zeros((n + 1, n + 1), dtype=np.int64)
    live = np.flatnonzero(marks.partner >= -1)
    found = marks.partner[live]
    column = np.where(found >= 0, truth.label[np.maximum(found, 0)] if len(truth.label) else n, n)
    np.add.at(counts, (predictions.label[live], column), 1)
    missed = truth.label[(marks.found_by == -1) & ~truth.crowd]
    counts[n, :n] += np.bincount(missed, minlength=n)
    return Confusion((*classes, "missed"), (*classes, "nothing there"), tuple(tuple(map(int, row)) for row in counts))
