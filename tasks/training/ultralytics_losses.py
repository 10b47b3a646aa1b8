"""Losses that ultralytics' criteria have no argument for. Imported by workers only."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from ultralytics.utils.loss import BboxLoss
from ultralytics.utils.metrics import bbox_iou

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


_OVERLAPS: dict[str, dict[str, bool]] = {
    "iou": {},
    "giou": {"GIoU": True},  # Rezatofighi et al. 2019, arXiv:1902.09630
    "diou": {"DIoU": True},  # Zheng et al. 2020, arXiv:1911.08287, equation 7
    "ciou": {"CIoU": True},  # the same, equation 10
}
"""Overlaps that ultralytics computes, and its words for them."""


class OverlapLoss(BboxLoss):  # type: ignore[misc]
    """Ultralytics' loss of the boxes, 1 - overlap and that of the edges, by another overlap than CIoU.

    Labels are assigned to places by CIoU as always.

    Args:
        theirs: The loss that it replaces.
        overlap: Of `_OVERLAPS`.
    """

    def __init__(self, theirs: BboxLoss, overlap: str) -> None:
        super().__init__()
        self.dfl_loss, self.overlap = theirs.dfl_loss, _OVERLAPS[overlap]

    def forward(
        self, pred_dist: Any, pred_bboxes: Any, anchor_points: Any, target_bboxes: Any, target_scores: Any,
        target_scores_sum: Any, fg_mask: Any, imgsz: Any, stride: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """Both losses; arguments as ultralytics names and gives them."""
        _, edges = super().forward(
            pred_dist, pred_bboxes, anchor_points, target_bboxes, target_scores, target_scores_sum, fg_mask, imgsz,
            stride,
        )  # fmt: skip
        weight = target_scores[fg_mask].sum(-1, keepdim=True)
        overlap = bbox_iou(pred_bboxes[fg_mask], target_bboxes[fg_mask], xywh=False, **self.overlap)
        return ((1.0 - overlap) * weight).sum() / target_scores_sum, edges


def focus(network: Any, gamma: float) -> None:
    """Have a network of ultralytics' learn its classes by the focal loss."""
    for criterion in _criteria(network):
        criterion.bce = FocalLoss(gamma)


def measure_overlap(network: Any, overlap: str) -> None:
    """Have a network of ultralytics' learn its boxes by another overlap."""
    for criterion in _criteria(network):
        criterion.bbox_loss = OverlapLoss(criterion.bbox_loss, overlap)


def _criteria(network: Any) -> list[Any]:
    """The network's criterion, or those of its two heads."""
    if getattr(network, "criterion", None) is None:
        network.criterion = network.init_criterion()
    heads = [getattr(network.criterion, name, None) for name in ("one2many", "one2one")]
    return [head for head in heads if head is not None] or [network.criterion]
