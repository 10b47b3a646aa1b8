"""Losses that ultralytics' criteria have no argument for. Imported by workers only."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

_SMALLEST = 1e-6
"""Below it the power's slope would have no bound where gamma is less than 1."""


class FocalLoss(nn.Module):  # type: ignore[misc]
    """Cross-entropy of each class by itself, weighed down where the answer is nearly right already.

    |target - probability|^gamma times the binary cross-entropy: the quality focal loss of Li et al. 2020,
    arXiv:2006.04388, equation 5; of hard targets the focal loss of Lin et al. 2017, arXiv:1708.02002, without alpha.
    Ultralytics' targets are soft: how well a box fits.

    Args:
        gamma: From 0, the plain cross-entropy.
    """

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Loss of each logit; of any shape, as the targets, which lie in [0, 1]."""
        loss = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return loss * (targets - logits.sigmoid()).abs().clamp_min(_SMALLEST).pow(self.gamma)


def focus(network: Any, gamma: float) -> None:
    """Have a network of ultralytics' learn its classes by the focal loss."""
    if getattr(network, "criterion", None) is None:
        network.criterion = network.init_criterion()
    heads = [getattr(network.criterion, name, None) for name in ("one2many", "one2one")]
    for criterion in [head for head in heads if head is not None] or [network.criterion]:
        criterion.bce = FocalLoss(gamma)
