"""Whether more data would help: how a score rises with the number of groups that a model learned from.

A learning curve flattens. A line through all of its points therefore promises too much at its end, and what counts here
is the rise over the *last* doubling: the score with all groups less the score with (about) half of them, training by
training with the same seed, divided by the doublings between the two. Trainings that share a seed share the test split,
so their difference is paired. The interval is Student's t over the seeds (none with a single one): it knows how much a
score changes with the choice of groups and with the training's own chance, and not how few recordings the test has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tasks.schemas import Frozen


class Measured(Frozen):
    """One training of a learning curve."""

    groups: int
    seed: int
    value: float


class Rise(Frozen):
    """What the score gains when the groups are doubled."""

    per_doubling: float
    low: float | None
    """None with one seed: nobody knows how much of it is chance."""
    high: float | None
    confidence: float
    from_groups: int
    to_groups: int
    seeds: int
    fitted: float | None
    """Slope over log2(groups) of all points: what an average doubling brought; None where two sizes are missing."""


def last_doubling(points: Sequence[Measured], confidence: float, *, better: str = "higher") -> Rise | None:
    """The rise over the last doubling, positive where more data made the score better.

    Args:
        points: Finished trainings, in any order.
        confidence: Two-sided, e.g. 0.95.
        better: Which way the score is better: 'higher' or 'lower'.

    Returns:
        None where no seed has both the largest size and another one.
    """
    from scipy import stats

    sign = 1.0 if better == "higher" else -1.0
    by_seed: dict[int, dict[int, float]] = {}
    for point in points:
        by_seed.setdefault(point.seed, {})[point.groups] = sign * point.value
    sizes = sorted({point.groups for point in points})
    if len(sizes) < 2:
        return None
    most = sizes[-1]
    half = min(sizes[:-1], key=lambda size: (abs(math.log2(most / size) - 1), -size))
    paired = [own[most] - own[half] for own in by_seed.values() if most in own and half in own]
    if not paired:
        return None
    differences = np.array(paired) / math.log2(most / half)
    rise, low, high = float(differences.mean()), None, None
    if len(differences) > 1:
        spread = float(differences.std(ddof=1)) / math.sqrt(len(differences))
        reach = float(stats.t.ppf((1 + confidence) / 2, len(differences) - 1)) * spread
        low, high = rise - reach, rise + reach
    doublings = np.log2([point.groups for point in points])
    fitted = float(np.polyfit(doublings, [sign * point.value for point in points], 1)[0])
    return Rise(
        per_doubling=rise, low=low, high=high, confidence=confidence, from_groups=half, to_groups=most,
        seeds=len(differences), fitted=fitted,
    )  # fmt: skip
