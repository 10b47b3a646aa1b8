"""Average precision from cached matches, for the data as they are and for thousands of resamples of them.

A resample draws images with replacement; drawing an image twice is the same as giving it the weight 2. So nothing is
matched again: the running counts of true positives and of all predictions become weighted sums over the cached, sorted
matches. Copies of one prediction share a score, and the precision inside such a group of true positives never exceeds
the one at its end, so the weighted curve has the same envelope as the curve of the repeated images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.metrics.matching import FloatArray, IntArray, Matches

Weights = NDArray[np.int64]

RECALL_LEVELS: FloatArray = np.linspace(0.0, 1.0, 101, dtype=np.float64)
"""COCO's 101 points of interpolation."""

_CHUNK = 500_000
"""Array elements worked on at once: the temporaries of one chunk stay in a core's cache."""


def average_precision(matches: Matches, weights: Weights) -> FloatArray:
    """AP by 101-point interpolation under each row of image weights.

    Equal to faster-coco-eval's where all weights are 1.

    Args:
        matches: One class in one area range.
        weights: int64 [R, I], how often each of the I images counts in each of R resamples.

    Returns:
        float64 [R, T], T the IoU thresholds; NaN where a resample holds nothing to find.
    """
    positives = weights @ matches.positives
    thresholds = matches.tp.shape[1]
    result = np.full((len(weights), thresholds), np.nan)
    result[positives > 0] = 0.0
    rows = max(1, _CHUNK // max(1, len(matches.score)))
    same = bool((matches.ignored == matches.ignored[:, :1]).all())
    # Half as wide where nothing can overflow: such sums are as fast as memory is.
    most = len(matches.score) * int(weights.max(initial=0))
    counter: type[np.signedinteger[Any]] = np.int32 if most < np.iinfo(np.int32).max else np.int64
    for start in range(0, len(weights), rows):
        part = slice(start, start + rows)
        live = np.flatnonzero(positives[part] > 0) + start
        if not len(live):
            continue
        counted: Weights | None = None
        drawn, needed = weights[live].astype(counter), _needed_counts(positives[live])
        for t in range(thresholds):
            keep = ~matches.ignored[:, t]
            image = matches.image[keep]
            hits = np.flatnonzero(matches.tp[keep, t])
            if not len(hits):
                continue
            if counted is None or not same:
                counted = np.cumsum(drawn.take(image, axis=1), axis=1, dtype=counter)
            found = np.cumsum(drawn.take(image[hits], axis=1), axis=1, dtype=counter)
            result[live, t] = _interpolated(found, counted.take(hits, axis=1), needed)
    return result


def _needed_counts(positives: Weights) -> Weights:
    """The least number of true positives whose recall reaches each of the 101 levels: int64 [R, 101].

    Recall is compared as the reference does, `count / positives >= level` in float64, so that rounding falls alike.
    """
    total = positives[:, None].astype(np.float64)
    count = np.rint(total * RECALL_LEVELS)
    count = np.where((count - 1) / total >= RECALL_LEVELS, count - 1, count)
    count = np.where(count / total < RECALL_LEVELS, count + 1, count)
    least: Weights = np.maximum(count, 0).astype(np.int64)
    return least


def _interpolated(found: Weights, counted: Weights, needed: Weights) -> FloatArray:
    """Mean over the recall levels of the best precision at that recall or beyond.

    Args:
        found: int64 [R, H], weighted true positives up to and including the h-th true positive.
        counted: int64 [R, H], weighted predictions up to there.
        needed: int64 [R, 101], from `_needed_counts`.

    Returns:
        float64 [R].
    """
    rows, hits = found.shape
    # A column of zero precision at the end stands for "this recall is never reached". `counted` is 0 only before the
    # first image that the resample holds at all.
    precision = np.zeros((rows, hits + 1))
    np.divide(found, np.maximum(counted, 1), out=precision[:, :-1])
    # All rows in one sorted search: each row is lifted above the one before it.
    lift = np.arange(rows)[:, None] * (int(max(found[:, -1].max(), needed.max())) + 2)
    first = np.searchsorted((found + lift).ravel(), (needed + lift).ravel()).reshape(rows, -1)
    place = np.minimum(first - np.arange(rows)[:, None] * hits, hits)
    base = np.arange(rows)[:, None] * (hits + 1)
    bounds = np.concatenate([place, np.full((rows, 1), hits)], axis=1) + base
    best = np.maximum.reduceat(precision.ravel(), bounds.ravel()).reshape(rows, -1)[:, :-1]
    envelope = np.maximum.accumulate(best[:, ::-1], axis=1)
    mean: FloatArray = envelope.mean(axis=1)
    return mean


def recall(matches: Matches, weights: Weights) -> FloatArray:
    """Recall with every prediction counted (COCO's AR when averaged): float64 [R, T]; NaN without positives."""
    hits = _per_image(matches.image, matches.tp & ~matches.ignored, weights.shape[1])
    return ratio(weights @ hits, (weights @ matches.positives)[:, None])


def counts_at(matches: Matches, score: float, images: int, threshold: int = 0) -> tuple[IntArray, IntArray]:
    """True and false positives per image at or above a score, at one IoU threshold: int [I] each."""
    keep = (matches.score >= score) & ~matches.ignored[:, threshold]
    tp = matches.tp[:, threshold]
    return (
        np.bincount(matches.image[keep & tp], minlength=images),
        np.bincount(matches.image[keep & ~tp], minlength=images),
    )


def ratio(part: NDArray[np.number], whole: NDArray[np.number]) -> FloatArray:
    """`part / whole` in float64, NaN where the whole is 0."""
    whole = np.asarray(whole, dtype=np.float64)
    shape = np.broadcast_shapes(np.shape(part), whole.shape)
    out = np.full(shape, np.nan)
    np.divide(part, whole, out=out, where=np.broadcast_to(whole > 0, shape))
    return out


def _per_image(image: IntArray, flags: NDArray[np.bool_], images: int) -> NDArray[np.int64]:
    """Sum of flags [D, T] by image: int64 [I, T]."""
    return np.stack([np.bincount(image[flag], minlength=images) for flag in flags.T], axis=1)
