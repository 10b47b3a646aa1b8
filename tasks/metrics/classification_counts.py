"""Metrics that follow from what was chosen: accuracy, precision, recall, F1, MCC, kappa; from counts alone.

All functions take counts under R resamples at once, float64 of whole numbers, and give float64 [R]. They equal
scikit-learn's of the repeated pictures, but for what is undefined. scikit-learn puts 0 there; here a metric is NaN
where there was nothing to measure it on, so that "not measured" is never taken for "bad":

- precision of a class that was never predicted, recall of one that was never labelled, F1 of one that was neither;
- MCC where all pictures bear the same label. A model that always predicts the same has MCC 0, as usual.

Means over classes (macro) are scikit-learn's: over the classes that were labelled or predicted, with 0 where a
precision or recall is undefined; balanced accuracy is the mean recall of the classes that were labelled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.metrics.average_precision import ratio

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """How often each of K classes was labelled, predicted, and both: float64 [..., K] of whole numbers.

    Attributes:
        labelled, predicted, right: By class.
        total: Pictures in all, [...].
    """

    labelled: FloatArray
    predicted: FloatArray
    right: FloatArray
    total: FloatArray

    @property
    def precision(self) -> FloatArray:
        """Share of the predictions of a class that are right: [..., K]."""
        return ratio(self.right, self.predicted)

    @property
    def recall(self) -> FloatArray:
        """Share of the pictures of a class that were found: [..., K]."""
        return ratio(self.right, self.labelled)

    @property
    def f1(self) -> FloatArray:
        """Harmonic mean of precision and recall: [..., K]."""
        return ratio(2 * self.right, self.labelled + self.predicted)

    @property
    def mcc_each(self) -> FloatArray:
        """Matthews' correlation of each class against the rest: [..., K]."""
        total = self.total[..., None]
        covariance = self.right * total - self.labelled * self.predicted
        return _correlation(
            covariance, self.labelled * (total - self.labelled), self.predicted * (total - self.predicted)
        )


def accuracy(counts: Counts) -> FloatArray:
    """Share of pictures whose class was predicted."""
    return ratio(counts.right.sum(axis=-1), counts.total)


def balanced_accuracy(counts: Counts) -> FloatArray:
    """Mean recall of the classes that were labelled: what chance reaches does not depend on how common classes are."""
    return mean_of_known(counts.recall)


def macro(counts: Counts, each: FloatArray) -> FloatArray:
    """Mean over the classes that were labelled or predicted; an undefined precision or recall of these counts as 0."""
    there = (counts.labelled + counts.predicted) > 0
    return ratio(np.where(there, np.nan_to_num(each), 0.0).sum(axis=-1), there.sum(axis=-1))


def mcc(counts: Counts) -> FloatArray:
    """Matthews' correlation of K classes (Gorodkin 2004, "Comparing two K-category assignments", R_K)."""
    total = counts.total
    covariance = counts.right.sum(axis=-1) * total - (counts.labelled * counts.predicted).sum(axis=-1)
    return _correlation(
        covariance, total**2 - (counts.labelled**2).sum(axis=-1), total**2 - (counts.predicted**2).sum(axis=-1)
    )


def kappa(counts: Counts) -> FloatArray:
    """Cohen's kappa: how far agreement exceeds what such shares of classes give by chance; NaN: chance agrees, too."""
    agreed = counts.right.sum(axis=-1) * counts.total
    by_chance = (counts.labelled * counts.predicted).sum(axis=-1)
    return ratio(agreed - by_chance, counts.total**2 - by_chance)


def mean_of_known(values: FloatArray) -> FloatArray:
    """Mean over the last axis of what is not NaN; NaN where nothing is known."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))


def _correlation(covariance: FloatArray, labelled: FloatArray, predicted: FloatArray) -> FloatArray:
    """Covariance over both spreads; NaN without a spread of labels, 0 without one of predictions."""
    spread = np.sqrt(labelled) * np.sqrt(predicted)
    found = np.where(labelled > 0, 0.0, np.nan)
    np.divide(covariance, spread, out=found, where=spread > 0)
    return found
