"""How many test recordings a finding takes: what a lab asks when it is told that there are too few.

All of it is extrapolated from the interval that there is: the spread between clusters is taken to stay as it is, so
that an interval narrows with the square root of their number, and with Student's quantile for so few (see
`tasks.metrics.bootstrap.bounds`). From a handful of clusters that spread is itself a rough guess: hence "about".
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.special import ndtri, stdtrit

from tasks.metrics.bootstrap import MIN_CLUSTERS

POWER = 0.8
"""'Would probably settle it': in four of five test splits of that size, if the difference is as it looks now."""

MANY = 1000
"""Beyond so many clusters no number is worth saying."""

_EQUAL = 1 + 1e-9
"""What differs by less is the same number, rounded."""


def clusters_to_carry(confidence: float) -> int:
    """The least number of clusters that can carry a one-sided bound of this confidence at all.

    Where two models differ by nothing but chance, each cluster says "better" or "worse" as a coin falls; C of them
    agree by chance with probability 0.5^C, whatever is computed from them. So 95% takes 5 clusters, 99% takes 7.
    """
    return max(MIN_CLUSTERS, math.ceil(math.log2(1 / (1 - confidence)) - 1e-9))


def clusters_for_width(width: float, clusters: int, confidence: float, wanted: float) -> int | None:
    """How many clusters would probably make an interval as narrow as wanted.

    Args:
        width: Between its two one-sided bounds.
        clusters: C, that it rests on; at least two.
        confidence: Of each bound.
        wanted: The width asked for.

    Returns:
        In all, not more; None: beyond `MANY`.
    """
    spread = _spread(width, clusters, confidence)
    return _fewest(lambda n: 2 * spread * _reach(n, confidence) <= wanted * _EQUAL)


def clusters_to_settle(distance: float, width: float, clusters: int, confidence: float) -> int | None:
    """How many clusters would probably show on which side of its limit a difference lies.

    Args:
        distance: Between the measured difference and the limit; its sign does not matter.
        width, clusters, confidence: Of the interval, as in `clusters_for_width`.

    Returns:
        In all, not more; None: beyond `MANY`, the difference lies too close to the limit.
    """
    if distance == 0:
        return None
    spread = _spread(width, clusters, confidence)
    probably = float(ndtri(POWER))
    return _fewest(lambda n: spread * (_reach(n, confidence) + probably / math.sqrt(n)) <= abs(distance) * _EQUAL)


def _reach(clusters: int, confidence: float) -> float:
    """From the middle of an interval to its bound, for a spread of 1 between clusters."""
    return float(stdtrit(clusters - 1, confidence)) / math.sqrt(clusters)


def _spread(width: float, clusters: int, confidence: float) -> float:
    """The spread between clusters that makes an interval this wide."""
    return width / (2 * _reach(clusters, confidence))


def _fewest(enough: Callable[[int], bool]) -> int | None:
    """The least number of clusters that is enough, by bisection: more are never too few."""
    low, high = MIN_CLUSTERS, MANY
    if not enough(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low
