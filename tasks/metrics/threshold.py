"""Whether the score threshold that a model ships with is the best one, and what another would bring.

The threshold of highest F1 is found on the very images that it is then measured on, and so promises too much. Here each
group of images (a donor, else a recording) is measured at the threshold that is best on all *other* groups; what that
gains over the shipped threshold is what a threshold chosen today would bring on a group that nobody has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.metrics.average_precision import ratio
from tasks.metrics.bootstrap import interval, paired_bootstrap, supporting_clusters
from tasks.metrics.judgement import FloatArray, IntArray, MetricPath, Statistic
from tasks.metrics.matching import BoolArray, Matches
from tasks.metrics.operating_point import best_threshold
from tasks.schemas import Frozen


@dataclass(frozen=True)
class Claims:
    """Everything that a model claims of I images, at any score: all classes together.

    Attributes:
        score: float64 [D].
        right: bool [D], whether it is so (at IoU 0.5, where objects are looked for).
        image: int [D], index of the image.
        positives: int [I], what there was to be found in each image.
    """

    score: FloatArray
    right: BoolArray
    image: IntArray
    positives: IntArray

    @classmethod
    def of(cls, classes: Sequence[Matches]) -> Claims:
        """What objects claim, by class: right where one took a label at the first IoU; the ignored claim nothing."""
        keep = [~each.ignored[:, 0] for each in classes]
        return cls(
            score=np.concatenate([each.score[k] for each, k in zip(classes, keep, strict=True)]),
            right=np.concatenate([each.tp[k, 0] for each, k in zip(classes, keep, strict=True)]),
            image=np.concatenate([each.image[k] for each, k in zip(classes, keep, strict=True)]),
            positives=np.sum([each.positives for each in classes], axis=0),
        )


class ThresholdGain(Frozen):
    """The shipped score threshold against the best one."""

    shipped: float
    shipped_F1: float
    best: float
    """Of highest F1 on all images: what one would set."""
    best_F1: float
    """There: flattered, as it was chosen by the same images."""
    gain: float | None
    """F1 that a threshold chosen on other groups gains over the shipped one; None with fewer than two groups."""
    low: float | None
    high: float | None
    confidence: float


def threshold_gain(
    claims: Claims, cluster: IntArray, shipped: float, *, confidence: float, resamples: int, seed: int
) -> ThresholdGain | None:
    """Compare the shipped threshold with the best.

    Args:
        claims: Of one model.
        cluster: int [I], each image's group, 0 to C-1.
        shipped: The threshold that users of the model get.
        confidence, resamples, seed: Of the interval: groups are drawn.

    Returns:
        None where there is nothing to be found, or nothing is ever right.
    """
    if not claims.positives.sum() or not claims.right.any():
        return None
    everything = np.ones(len(claims.score), dtype=np.bool_)
    best = _best(claims, everything, claims.positives)
    at_shipped = _counts(claims, np.full(len(claims.positives), shipped))
    found = ThresholdGain(
        shipped=shipped, shipped_F1=_f1(*at_shipped), best=best,
        best_F1=_f1(*_counts(claims, np.full(len(claims.positives), best))),
        gain=None, low=None, high=None, confidence=confidence,
    )  # fmt: skip
    clusters = int(cluster.max()) + 1
    if clusters < 2:
        return found
    others = np.array([_best_without(claims, cluster, group) for group in range(clusters)])
    chosen = _counts(claims, others[cluster])
    drawn = paired_bootstrap(
        {"chosen": _statistic(*chosen), "shipped": _statistic(*at_shipped)}, cluster, resamples=resamples, seed=seed
    )
    if drawn is None:
        return found
    gained = drawn.differences("chosen", "shipped")[("F1",)]
    bounds = interval(gained, confidence, supporting_clusters(claims.positives, cluster))
    return found.model_copy(update={"gain": _f1(*chosen) - found.shipped_F1, "low": bounds.low, "high": bounds.high})


def _best_without(claims: Claims, cluster: IntArray, group: int) -> float:
    """The best threshold on all images but one group's."""
    elsewhere = cluster != group
    return _best(claims, elsewhere[claims.image], claims.positives[elsewhere])


def _best(claims: Claims, own: BoolArray, positives: IntArray) -> float:
    return best_threshold(claims.score[own], claims.right[own], int(positives.sum()))


def _counts(claims: Claims, threshold: FloatArray) -> tuple[IntArray, IntArray, IntArray]:
    """True and false positives and what there was, of each image at its own threshold: int [I] each."""
    shown = claims.score >= threshold[claims.image]
    images = len(claims.positives)
    tp = np.bincount(claims.image[shown & claims.right], minlength=images)
    fp = np.bincount(claims.image[shown & ~claims.right], minlength=images)
    return tp, fp, claims.positives


def _f1(tp: IntArray, fp: IntArray, there: IntArray) -> float:
    return float(2 * tp.sum() / max(1, tp.sum() + fp.sum() + there.sum()))


def _statistic(tp: IntArray, fp: IntArray, there: IntArray) -> Statistic:
    def statistic(weights: NDArray[np.int64]) -> dict[MetricPath, FloatArray]:
        return {("F1",): ratio(2 * (weights @ tp), weights @ (tp + fp + there))}

    return statistic
