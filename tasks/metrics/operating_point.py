"""What the finders of objects share: ranges of size, the score threshold, and what holds at that one threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.metrics.average_precision import counts_at, ratio
from tasks.metrics.judgement import FloatArray, IntArray, MetricPath
from tasks.metrics.matching import Matches

FIXED_SCORE = 0.25
"""A threshold that nobody chose, to report beside the chosen one."""


def size_ranges(small_px: float, large_px: float) -> dict[str, tuple[float, float]]:
    """Area ranges from the side lengths (square root of area) that a line sets; COCO's are 32 and 96.

    As in COCO both ends belong to a range: a box of exactly a limiting size counts as either.
    """
    largest = 1e10
    return {
        "all": (0.0, largest),
        "small": (0.0, small_px**2),
        "medium": (small_px**2, large_px**2),
        "large": (large_px**2, largest),
    }


def best_score(matches: list[Matches]) -> float:
    """The score threshold of highest F1 at IoU 0.5, all classes pooled; the fixed one where nothing is ever right."""
    keep = [~own.ignored[:, 0] for own in matches]
    score = np.concatenate([own.score[k] for own, k in zip(matches, keep, strict=True)])
    tp = np.concatenate([own.tp[k, 0] for own, k in zip(matches, keep, strict=True)])
    return best_threshold(score, tp, sum(int(own.positives.sum()) for own in matches))


def best_threshold(score: FloatArray, right: NDArray[np.bool_], positives: int) -> float:
    """The score threshold of highest F1; the fixed one where nothing is ever right.

    Args:
        score: float64 [D], in any order.
        right: bool [D].
        positives: How many there were to be found.
    """
    if not right.any():
        return FIXED_SCORE
    order = np.argsort(-score, kind="stable")
    f1 = 2 * np.cumsum(right[order]) / (np.arange(1, len(order) + 1) + positives)
    ends = np.append(score[order][1:] != score[order][:-1], True)  # a threshold cannot part equal scores
    return float(score[order][np.where(ends, f1, -1).argmax()])


def over_classes(values: FloatArray) -> FloatArray:
    """Mean over the classes that have anything to find, as COCO takes it: [classes, R] to [R]."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0))


def operating(
    prefix: MetricPath, tp: IntArray, fp: IntArray, positives: IntArray, weights: NDArray[np.int64]
) -> dict[MetricPath, FloatArray]:
    """Precision, recall and F1 from counts, int [I] each."""
    hits, wrong, there = weights @ tp, weights @ fp, weights @ positives
    return {
        (*prefix, "precision"): ratio(hits, hits + wrong),
        (*prefix, "recall"): ratio(hits, there),
        (*prefix, "F1"): ratio(2 * hits, hits + wrong + there),
    }


def count_error(prefix: MetricPath, off: IntArray, weights: NDArray[np.int64]) -> dict[MetricPath, FloatArray]:
    """Mean absolute error of the count per frame; `off`: int [I], how far each image's count is off."""
    return {(*prefix, "count_mae"): ratio(weights @ np.abs(off), weights.sum(axis=1))}


def at_fixed_score(whole: list[Matches], images: int) -> dict[str, float | None]:
    """Precision, recall, F1 and count error at a score that nobody chose."""
    tp, fp = (np.sum(part, axis=0) for part in zip(*(counts_at(o, FIXED_SCORE, images) for o in whole), strict=True))
    there = np.sum([own.positives for own in whole], axis=0)
    once = np.ones((1, images), dtype=np.int64)
    at_fixed = operating((), tp, fp, there, once) | count_error((), tp + fp - there, once)
    values = {path[0]: None if np.isnan(value[0]) else float(value[0]) for path, value in at_fixed.items()}
    return {"score_threshold": FIXED_SCORE, **values}
