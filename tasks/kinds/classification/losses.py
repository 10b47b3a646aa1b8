"""What a training makes small. Used by the worker only.

Targets are float32 [n, classes]: shares that sum to 1 where a picture has one class (mixup and smoothing divide it);
yes, no, or NaN for what nobody said, where labels are independent of each other.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from tasks.kinds.classification.plan import TrainingPlan

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def loss_of(plan: TrainingPlan, targets: torch.Tensor, *, multi_label: bool) -> Loss:
    """The plan's loss: logits and targets, both [n, classes], to one number.

    Args:
        plan: Names it.
        targets: Of the training split [pictures, classes]: rare classes weigh more where the plan wants that.
        multi_label: Whether labels are independent of each other.
    """
    gamma = plan.focal_gamma if plan.loss == "focal" else 0.0
    balanced = plan.class_weights == "balanced"
    if multi_label:
        positive = _positive_weights(targets) if balanced else torch.ones(targets.shape[1])
        return lambda logits, wanted: binary_loss(logits, wanted, positive.to(logits), plan.label_smoothing, gamma)
    weights = class_weights(targets) if balanced else torch.ones(targets.shape[1])
    return lambda logits, wanted: choice_loss(logits, wanted, weights.to(logits), plan.label_smoothing, gamma)


def choice_loss(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, smoothing: float = 0.0, gamma: float = 0.0
) -> torch.Tensor:
    """Cross entropy, or, with a gamma, the focal loss: mean of -sum_c w_c t_c (1 - p_c)^gamma log p_c.

    (Lin et al. 2017, arXiv:1708.02002, equation 5, for shares t instead of one class.)
    """
    wanted = targets * (1 - smoothing) + smoothing / targets.shape[1]
    logs = functional.log_softmax(logits.float(), 1)
    terms = wanted * logs * weights
    if gamma:
        terms = terms * (1 - logs.exp()).clamp(min=0) ** gamma
    return -terms.sum(1).mean()


def binary_loss(
    logits: torch.Tensor, targets: torch.Tensor, positive: torch.Tensor, smoothing: float = 0.0, gamma: float = 0.0
) -> torch.Tensor:
    """Binary cross entropy (with a gamma: focal, as above) of every label that somebody judged; 0 where nobody did.

    `positive` [classes] weighs the labels that are there.
    """
    known = ~torch.isnan(targets)
    wanted = torch.nan_to_num(targets) * (1 - smoothing) + smoothing / 2
    scores = logits.float()
    terms = functional.binary_cross_entropy_with_logits(scores, wanted, pos_weight=positive, reduction="none")
    if gamma:
        chances = torch.sigmoid(scores)
        right = chances * wanted + (1 - chances) * (1 - wanted)
        terms = terms * (1 - right) ** gamma
    return (terms * known).sum() / known.sum().clamp(min=1)


def class_weights(targets: torch.Tensor) -> torch.Tensor:
    """pictures / (classes x pictures of the class), as scikit-learn's 'balanced'; 0 for a class without any."""
    counts = targets.sum(0)
    there = counts > 0
    return torch.where(there, len(targets) / (there.sum() * counts.clamp(min=1)), torch.zeros_like(counts))


def picture_weights(targets: torch.Tensor, *, multi_label: bool) -> torch.Tensor:
    """How often the balanced sampler draws each picture: 1 / how frequent its class is, or the mean of its labels."""
    if not multi_label:
        return (targets * class_weights(targets)).sum(1)
    known = ~torch.isnan(targets)
    yes = torch.nan_to_num(targets)
    there = (yes.sum(0) / known.sum(0).clamp(min=1)).clamp(0.01, 0.99)
    rarity = torch.where(yes > 0.5, 1 / there, 1 / (1 - there)) * known
    return rarity.sum(1) / known.sum(1).clamp(min=1)


def _positive_weights(targets: torch.Tensor) -> torch.Tensor:
    """Of each label: pictures without it over pictures with it, both as far as known; 1 to 20 times either way."""
    known = ~torch.isnan(targets)
    yes = torch.nan_to_num(targets).sum(0)
    return ((known.sum(0) - yes).clamp(min=1) / yes.clamp(min=1)).clamp(0.05, 20)
