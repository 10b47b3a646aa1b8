"""Temperature scaling (Guo et al. 2017, arXiv:1706.04599, section 4.2): one number that makes scores honest.

Logits are divided by a temperature T before they become probabilities. T is fitted on validation pictures, never on
the training's or the test's, by least negative log likelihood. Where one class is chosen, the choice stays the same:
only how sure the model is of it changes. In a multi-label line one T serves all labels, and no score crosses 0.5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax

FloatArray = NDArray[np.float64]

NEUTRAL = 1.0
"""Changes nothing."""
LIMITS = (0.05, 20.0)
"""A few pictures that are all classified rightly would drive T to 0, and a model that knows nothing to infinity."""


def fit_temperature(logits: FloatArray, targets: FloatArray, *, multi_label: bool = False) -> float:
    """The temperature of least negative log likelihood.

    Args:
        logits: float [N, C], of validation pictures, before softmax or sigmoid.
        targets: float [N, C], 1 where the class is there, 0 where it is not, NaN where it is not known.
        multi_label: Whether labels are independent of each other (sigmoid), else each picture has one class (softmax).

    Returns:
        Within `LIMITS`; `NEUTRAL` where there is nothing to fit it on.
    """
    logits, targets = np.asarray(logits, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if not _known(targets, multi_label).any():
        return NEUTRAL
    low, high = np.log(LIMITS)
    found = minimize_scalar(
        # The likelihood is convex in 1/T, and so has one minimum; on a logarithmic scale both directions count alike.
        lambda log_t: negative_log_likelihood(logits, targets, float(np.exp(log_t)), multi_label=multi_label),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))


def negative_log_likelihood(
    logits: FloatArray, targets: FloatArray, temperature: float = NEUTRAL, *, multi_label: bool = False
) -> float:
    """Mean over what is known: pictures, or (multi-label) each label of each picture; in nats.

    Args:
        logits, targets, multi_label: As in `fit_temperature`.
        temperature: T.

    Returns:
        NaN where nothing is known.
    """
    scaled, known = np.asarray(logits, dtype=np.float64) / temperature, _known(targets, multi_label)
    if not known.any():
        return float("nan")
    if multi_label:
        sign = np.where(targets[known] > 0.5, -1.0, 1.0)
        return float(np.logaddexp(0.0, sign * scaled[known]).mean())
    # Label smoothing or mixup may leave more than one class with a share: cross entropy takes them all.
    return float(-(targets[known] * log_softmax(scaled[known], axis=1)).sum(axis=1).mean())


def probabilities(logits: FloatArray, temperature: float = NEUTRAL, *, multi_label: bool = False) -> FloatArray:
    """Probabilities [N, C] of logits [N, C]: each row sums to 1, unless labels are independent of each other."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    found: FloatArray = expit(scaled) if multi_label else softmax(scaled, axis=1)
    return found


def _known(targets: FloatArray, multi_label: bool) -> NDArray[np.bool_]:
    """Which pictures [N], or which labels of which pictures [N, C], have a target."""
    there: NDArray[np.bool_] = ~np.isnan(targets)
    return there if multi_label else np.asarray(there.all(axis=1))
