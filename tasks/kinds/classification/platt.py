"""Log odds of an SVM's scores (Platt 1999, "Probabilistic outputs for support vector machines"). For the worker."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
AS_IT_WAS = (1.0, 0.0)


def platt(
    classifier: Any, rows: NDArray[np.float64], there: NDArray[np.bool_], groups: NDArray[Any]
) -> tuple[float, float]:
    """Slope and shift that turn a classifier's scores into log odds: `slope * score + shift`.

    They are fitted on scores of rows that the classifier was not fitted on: `FOLDS` folds of whole groups, stratified,
    shuffled by seed 0. Classes weigh as they do in the classifier itself: of a balanced one, log odds of 0 lie where
    both classes, each counting the same, are as likely.

    Args:
        classifier: Of scikit-learn, unfitted.
        rows: [n, f].
        there: [n].
        groups: [n], which rows depend on each other.

    Returns:
        `AS_IT_WAS` where there are too few groups to leave some out, or where the scores of what it did not see rank
        no better than chance: then nothing is known about them.
    """
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    folds = min(FOLDS, *(len(np.unique(groups[there == side])) for side in (True, False)))
    if folds < 2:
        return AS_IT_WAS
    parts = list(StratifiedGroupKFold(folds, shuffle=True, random_state=0).split(rows, there, groups))
    if any(len(np.unique(there[train])) < 2 or not len(held) for train, held in parts):
        return AS_IT_WAS
    scores = cross_val_predict(clone(classifier), rows, there, cv=parts, method="decision_function")
    fitted = LogisticRegression(class_weight=classifier.class_weight).fit(scores[:, None], there)
    slope, shift = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return (slope, shift) if slope > 0 else AS_IT_WAS
