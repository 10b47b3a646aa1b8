"""ROC AUC and average precision of one class under thousands of resamples, from one sorting of its scores.

A resample draws pictures with replacement; drawing one twice is giving it the weight 2. So scores are sorted once, and
each resample is a running sum of its weights. Equal scores cannot be told apart by any threshold, and stand together.

- ROC AUC: the share of pairs of one picture with and one without the class in which the former has the higher score;
  equal scores count half (Mann-Whitney; scikit-learn's `roc_auc_score`).
- Average precision: precision at each picture with the class, averaged; not interpolated (scikit-learn's
  `average_precision_score`, `PR_AUC` here).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.metrics.average_precision import ratio

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Ranking:
    """The pictures of one class by rising score, with those left out of which nobody knows the label.

    Attributes:
        order: int64 [N], places of the pictures by rising score.
        positive: bool [N], in that order, whether a picture shows the class.
        first, last: int64 [P], for each positive one how many pictures score lower, and how many lower or equal.
    """

    order: IntArray
    positive: NDArray[np.bool_]
    first: IntArray
    last: IntArray


def ranked(score: FloatArray, target: FloatArray) -> Ranking:
    """Sort pictures by score.

    Args:
        score: float [I].
        target: float [I]: 1 shows the class, 0 does not, NaN unknown.
    """
    known = np.flatnonzero(~np.isnan(target))
    order = known[np.argsort(score[known], kind="stable")]
    rising, positive = score[order], target[order] > 0.5
    hits = rising[positive]
    return Ranking(
        order=order.astype(np.int64),
        positive=positive,
        first=np.searchsorted(rising, hits, side="left").astype(np.int64),
        last=np.searchsorted(rising, hits, side="right").astype(np.int64),
    )


def areas(ranking: Ranking, weights: IntArray) -> tuple[FloatArray, FloatArray]:
    """ROC AUC and average precision under each row of weights.

    Args:
        ranking: Of one class.
        weights: int64 [R, I], how often each picture counts in each of R resamples.

    Returns:
        float64 [R] each. ROC AUC is NaN where a resample lacks pictures with or without the class, average precision
        where it lacks pictures with it.
    """
    drawn = weights.take(ranking.order, axis=1)
    hits = drawn[:, ranking.positive]
    every, others = _running(drawn), _running(drawn * ~ranking.positive)
    all_there, negatives = every[:, -1], others[:, -1]
    positives = all_there - negatives
    lower, lower_or_equal = others.take(ranking.first, axis=1), others.take(ranking.last, axis=1)
    # Whole numbers until the last division: the same on every processor.
    won = (hits * (lower + lower_or_equal)).sum(axis=1)
    auc = ratio(won, 2 * positives * negatives)
    below = every.take(ranking.first, axis=1)
    at_least = all_there[:, None] - below  # scored as high or higher, in all, and of these those with the class
    right = positives[:, None] - (below - lower)
    precision = right / np.maximum(at_least, 1)
    return auc, ratio((hits * precision).sum(axis=1), positives)


def _running(values: IntArray) -> IntArray:
    """Sums of the first 0, 1, ... N columns: [R, N + 1]."""
    out = np.zeros((values.shape[0], values.shape[1] + 1), dtype=np.int64)
    np.cumsum(values, axis=1, out=out[:, 1:])
    return out
