"""The paired cluster bootstrap: how sure a metric, or a difference between two models, is.

Frames of one recording resemble each other, so the recordings (or donors) are drawn with replacement, never the frames.
Both models are judged on the same draws, so what they share cancels in the difference.

With few clusters the plain percentile interval (Efron & Tibshirani 1993, ch. 13) is too short: with 5 to 8 recordings a
bound of 95% errs about twice as often as it says (simulated in docs/statistics.md). It misses that C clusters spread
less than what they were taken from, by sqrt((C-1)/C), and that the spread itself is only guessed from them, which is
what Student's t is for. Two corrections (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", The American
Statistician 69:371-386) mend that, each in its own way, and where something is decided the more cautious one counts:

- the expanded percentile interval: percentiles at Phi(-sqrt(C/(C-1)) t) instead of Phi(-z), with t of C-1 degrees of
  freedom. It follows a lopsided distribution, but cannot reach beyond the worst draw.
- the t interval with the bootstrap's standard error s: mean ± sqrt(C/(C-1)) t s. It reaches as far as a strict
  confidence asks, but is symmetric.

No correction knows of a failure that none of the test recordings shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

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
    """The two-sided expanded percentile interval of a model's own metric: for a report, nothing is decided by it.

    It consists of drawn values, and so stays where the metric can lie.

    Args:
        values: float64 [R]; NaN = undefined in that draw, left out.
        confidence: E.g. 0.95.
        clusters: What they rest on; below two there is no interval.
    """
    array = _defined(values)
    if clusters < MIN_CLUSTERS or not len(array):
        return Interval(low=None, high=None, confidence=confidence)
    low, high = _expanded(array, _reach(1 - (1 - confidence) / 2, clusters))
    return Interval(low=low, high=high, confidence=confidence)


def bounds(values: FloatArray | list[float], confidence: float, clusters: int) -> tuple[float | None, float | None]:
    """The lower and the upper one-sided bound, each at the given confidence: what gates decide by.

    Args:
        values: float64 [R], a difference on each draw; NaN = undefined in that draw, left out.
        confidence: Of each bound, e.g. 0.95.
        clusters: C, what they rest on.

    Returns:
        None below two clusters, and where no draw is defined.
    """
    array = _defined(values)
    if clusters < MIN_CLUSTERS or not len(array):
        return None, None
    reach = _reach(confidence, clusters)
    low, high = _expanded(array, reach)
    # All draws alike have no spread: their mean must not differ from them in its last digit.
    middle, spread = (float(array.mean()), float(array.std())) if low < high else (low, 0.0)
    return min(low, middle - reach * spread), max(high, middle + reach * spread)


def _defined(values: FloatArray | list[float]) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    defined: FloatArray = array[~np.isnan(array)]
    return defined


def _reach(confidence: float, clusters: int) -> float:
    """How many of the bootstrap's standard errors a one-sided bound lies away; above the normal's for few clusters."""
    return math.sqrt(clusters / (clusters - 1)) * float(stdtrit(clusters - 1, confidence))


def _expanded(array: FloatArray, reach: float) -> tuple[float, float]:
    """The percentiles so far out, each widened to the next drawn value rather than interpolated."""
    tail = float(ndtr(-reach))
    return float(np.quantile(array, tail, method="lower")), float(np.quantile(array, 1 - tail, method="higher"))
