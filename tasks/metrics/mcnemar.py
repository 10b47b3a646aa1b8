"""McNemar's exact test: whether one of two models is right more often, on the pictures where exactly one of them is.

McNemar 1947, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12:153-157;
here the exact binomial form. Pictures where both are right, or both wrong, are no evidence either way. The test takes
pictures for independent of each other: where several are of one donor it is too sure, and the paired cluster bootstrap
is what gates go by.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.metrics.judgement import FloatArray


@dataclass(frozen=True)
class McNemar:
    """Two models on the same pictures.

    Attributes:
        both, neither: Pictures on which both are right, or both wrong.
        only_first, only_second: Pictures on which one alone is right.
        p_value: Two-sided: how probable so uneven a split, or a more uneven one, is between equally good models.
    """

    both: int
    only_first: int
    only_second: int
    neither: int
    p_value: float


def mcnemar(first: FloatArray, second: FloatArray) -> McNemar:
    """Compare two models.

    Args:
        first, second: float64 [I]: 1 right, 0 wrong, NaN nobody knows; pictures unknown to either are left out.
    """
    from scipy.stats import binomtest

    known = ~(np.isnan(first) | np.isnan(second))
    mine, theirs = first[known] > 0.5, second[known] > 0.5
    better, worse = int((mine & ~theirs).sum()), int((~mine & theirs).sum())
    p_value = float(binomtest(better, better + worse, 0.5).pvalue) if better + worse else 1.0
    return McNemar(int((mine & theirs).sum()), better, worse, int((~mine & ~theirs).sum()), p_value)
