"""What K folds say together: a mean, and how sure it is.

The scores of K folds are not K independent measurements: any two trainings share most of their data, and no unbiased
estimator of their mean's variance exists (Bengio & Grandvalet 2004, JMLR 5). The plain t interval takes them for
independent and is too narrow. Ours is the corrected resampled t interval (Nadeau & Bengio 2003, Machine Learning 52):
the folds' variance is multiplied by `1/K + test/train` instead of `1/K`, which is right where two folds' scores
correlate as much as the share of the data that each of them leaves out.

Why not a bootstrap over the pooled predictions, as between two models on one test split? It would mix the scores of K
models, which share no scale (Forman & Scholz 2010), rest on models that are taken as given, though which groups a model
learned from is most of what varies in a small set, and be too narrow by itself on three to ten groups. Ours is wide
there, and says so: an interval that reaches beyond what a metric can be is not cut, it means that K folds cannot tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tasks.schemas import Frozen


class FoldScores(Frozen):
    """One metric over the folds."""

    folds: tuple[float | None, ...]
    """Each fold's score, in the folds' order; None where the fold failed or has nothing to measure it on."""
    mean: float | None
    sd: float | None
    """Standard deviation between the folds; None below two scores."""
    low: float | None
    high: float | None
    confidence: float


def fold_scores(scores: Sequence[float | None], test_over_train: float, confidence: float) -> FoldScores:
    """Mean and corrected t interval of a metric over folds.

    Args:
        scores: One for each fold; None = no score.
        test_over_train: Groups that a fold tests on over those it trains on, e.g. 1/4 with five folds.
        confidence: Two-sided, e.g. 0.95.
    """
    from scipy import stats

    values = [score for score in scores if score is not None and not math.isnan(score)]
    number = len(values)
    mean = float(np.mean(values)) if values else None
    sd = low = high = None
    if mean is not None and number >= 2:
        sd = float(np.std(values, ddof=1))
        reach = float(stats.t.ppf((1 + confidence) / 2, number - 1)) * sd * math.sqrt(1 / number + test_over_train)
        low, high = mean - reach, mean + reach
    return FoldScores(folds=tuple(scores), mean=mean, sd=sd, low=low, high=high, confidence=confidence)
