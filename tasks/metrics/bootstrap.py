"""The paired cluster bootstrap: how sure a metric, or a difference between two models, is.

Frames of one recording resemble each other, so the recordings (or donors) are drawn with replacement, never the frames.
Both models are judged on the same draws, so what they share cancels in the difference. Intervals are percentile
intervals (Efron & Tibshirani 1993, ch. 13), widened to the next drawn value rather than interpolated. They rest on the
clusters there are: with two or three they are rough, and with one there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.metrics.judgement import FloatArray, IntArray, MetricPath, Statistic
from tasks.schemas import Interval

MIN_CLUSTERS = 2
"""With fewer, every resample is the same data, and an interval would be a lie."""


@dataclass(frozen=True)
class Resamples:
    """Every metric of every model under the same draws.

    Attributes:
        clusters: How many groups were drawn from.
        values: Model -> metric address -> float64 [R]; NaN where a draw left nothing to measure.
    """

    clusters: int
    values: dict[str, dict[MetricPath, FloatArray]]

    def differences(self, model: str, other: str) -> dict[MetricPath, FloatArray]:
        """`model - other` for each draw, of every metric both have: float64 [R] each."""
        mine, theirs = self.values[model], self.values[other]
        return {path: mine[path] - theirs[path] for path in mine if path in theirs}


def draw_clusters(clusters: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """How often each cluster is drawn in each resample: int64 [R, C], every row summing to C."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)


def paired_bootstrap(
    statistics: Mapping[str, Statistic], cluster: IntArray, *, resamples: int, seed: int
) -> Resamples | None:
    """Resample every model's metrics over the same draws of clusters.

    Args:
        statistics: Model name -> its statistic of image weights.
        cluster: int64 [I], each image's cluster, 0 to C-1.
        resamples: R.
        seed: The same seed draws the same.

    Returns:
        None with fewer than two clusters: then there is nothing to draw from.
    """
    clusters = int(cluster.max()) + 1 if len(cluster) else 0
    if clusters < MIN_CLUSTERS:
        return None
    # Few clusters have few distinct draws (3 clusters: 10): each is worth computing once.
    draws, which = np.unique(draw_clusters(clusters, resamples, seed), axis=0, return_inverse=True)
    weights = np.ascontiguousarray(draws[:, cluster])
    return Resamples(
        clusters=clusters,
        values={
            name: {path: value[which.ravel()] for path, value in statistic(weights).items()}
            for name, statistic in statistics.items()
        },
    )


def supporting_clusters(support: IntArray, cluster: IntArray) -> int:
    """In how many clusters a metric has anything to measure: the clusters its interval really rests on."""
    return len(np.unique(cluster[support > 0]))


def interval(values: FloatArray | list[float], confidence: float, clusters: int) -> Interval:
    """The two-sided percentile interval of resampled values.

    Args:
        values: float64 [R]; NaN = undefined in that draw, left out.
        confidence: E.g. 0.95.
        clusters: What they rest on; below two there is no interval.
    """
    tail = (1 - confidence) / 2
    low, high = bounds(values, 1 - tail, clusters)
    return Interval(low=low, high=high, confidence=confidence)


def bounds(values: FloatArray | list[float], confidence: float, clusters: int) -> tuple[float | None, float | None]:
    """The lower and the upper one-sided percentile bound, each at the given confidence; None below two clusters."""
    array = np.asarray(values, dtype=np.float64)
    array = array[~np.isnan(array)]
    if clusters < MIN_CLUSTERS or not len(array):
        return None, None
    low = np.quantile(array, 1 - confidence, method="lower")
    return float(low), float(np.quantile(array, confidence, method="higher"))
