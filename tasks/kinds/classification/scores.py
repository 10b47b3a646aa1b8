"""How well a network does on a split while it learns, by scikit-learn. Used by the worker only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.metrics.temperature import NEUTRAL, negative_log_likelihood, probabilities

Floats = NDArray[np.float64]


def scores_of(logits: Floats, targets: Floats, *, multi_label: bool, temperature: float = NEUTRAL) -> dict[str, float]:
    """`loss` (negative log likelihood), `accuracy`, `balanced_accuracy`, `ROC_AUC`; means over labels or classes.

    Args:
        logits: [n, classes].
        targets: [n, classes], NaN where nobody said.
        multi_label: Whether labels are independent of each other.
        temperature: What logits are divided by.

    Returns:
        What can be computed: a score without two classes to tell apart is left out.
    """
    from sklearn.metrics import accuracy_score, balanced_accuracy_score

    loss = negative_log_likelihood(logits, targets, temperature, multi_label=multi_label)
    chances = probabilities(logits, temperature, multi_label=multi_label)
    if multi_label:
        columns = [(chances[known, c], targets[known, c] > 0.5) for c, known in enumerate((~np.isnan(targets)).T)]
        columns = [(chance, there) for chance, there in columns if len(there)]
        accuracies = [accuracy_score(there, chance >= 0.5) for chance, there in columns]
        both = [(chance, there) for chance, there in columns if len(set(there)) == 2]
        balanced = [balanced_accuracy_score(there, chance >= 0.5) for chance, there in both]
    else:
        truth, said = targets.argmax(1), chances.argmax(1)
        accuracies = [accuracy_score(truth, said)] if len(truth) else []
        balanced = [np.mean([(said[truth == c] == c).mean() for c in np.unique(truth)])] if len(truth) else []
        both = [(chances[:, c], truth == c) for c in range(targets.shape[1]) if 0 < (truth == c).sum() < len(truth)]
    found = {"loss": [loss], "accuracy": accuracies, "balanced_accuracy": balanced, "ROC_AUC": _aucs(both)}
    return {name: float(np.mean(values)) for name, values in found.items() if len(values) and np.isfinite(values).all()}


def _aucs(both: list[tuple[Floats, NDArray[np.bool_]]]) -> list[float]:
    from sklearn.metrics import roc_auc_score

    return [float(roc_auc_score(there, chance)) for chance, there in both]
