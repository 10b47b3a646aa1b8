"""Which answer of the finder is whose: one to one, by the least cost (Hungarian method). Used by the worker only."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.ops import generalized_box_iou_loss

from tasks.kinds.segmentation.networks.finder import Answers
from tasks.kinds.segmentation.plan import Stage1Plan
from tasks.kinds.segmentation.training.targets import CellTargets

CANDIDATES = 16
"""Places around its centre that may answer for a cell: the others' boxes cannot be right before they have learned."""
_NEVER = 1e6


def relative_l1(boxes: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """L1 of corners in sides of the true box, of boxes [..., 4]: a small cell's error counts as a large one's."""
    sides = (truth[..., 2:] - truth[..., :2]).clamp(min=1)
    return ((boxes - truth).abs() / sides[..., [0, 1, 0, 1]]).mean(-1)


def focal_cost(logits: torch.Tensor, alpha: float = 0.25, gamma: float = 2.0) -> torch.Tensor:
    """Focal loss of a yes less that of a no, as Deformable DETR matches (Zhu et al. 2021, arXiv:2010.04159)."""
    chance = logits.sigmoid()
    yes = alpha * (1 - chance) ** gamma * -torch.nn.functional.logsigmoid(logits)
    no = (1 - alpha) * chance**gamma * -torch.nn.functional.logsigmoid(-logits)
    return yes - no


@torch.no_grad()  # type: ignore[untyped-decorator]
def matched(answers: Answers, number: int, cells: CellTargets, plan: Stage1Plan) -> tuple[torch.Tensor, torch.Tensor]:
    """Places int64 [k] and the cells int64 [k] that they answer for, of one picture of the batch.

    The cost of a pair is a weighted sum of class, L1 and GIoU, with the weights of the loss. Every cell is matched,
    unless more cells than candidates share a centre.
    """
    count = len(cells)
    if not count:
        nothing = torch.zeros(0, dtype=torch.int64, device=answers.boxes.device)
        return nothing, nothing
    centres, sides = (cells.boxes[:, :2] + cells.boxes[:, 2:]) / 2, cells.boxes[:, 2:] - cells.boxes[:, :2]
    apart = ((answers.places[None] - centres[:, None]) / sides[:, None]).abs().amax(-1)
    near = apart.topk(min(CANDIDATES, apart.shape[1]), largest=False).indices  # [n, candidates]
    truth = cells.boxes[:, None].expand(-1, near.shape[1], -1)
    boxes = answers.boxes[number][near]
    giou = generalized_box_iou_loss(boxes.reshape(-1, 4), truth.reshape(-1, 4)).reshape(near.shape)
    chosen = answers.logits[number].float()[near, cells.labels[:, None]]
    cost = plan.ce_weight * focal_cost(chosen) + plan.l1_weight * relative_l1(boxes, truth) + plan.giou_weight * giou
    return _assigned(near, cost)


def _assigned(near: torch.Tensor, cost: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    from scipy.optimize import linear_sum_assignment

    places, columns = np.unique(near.cpu().numpy(), return_inverse=True)
    table = np.full((len(near), len(places)), _NEVER)
    np.put_along_axis(table, columns.reshape(near.shape), cost.double().cpu().numpy(), 1)
    rows, chosen = linear_sum_assignment(table)
    real = table[rows, chosen] < _NEVER
    device = near.device
    return torch.from_numpy(places[chosen[real]]).to(device), torch.from_numpy(rows[real]).to(device)
