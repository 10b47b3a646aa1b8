"""The losses of both stages and of the star-convex head. Used by the worker only.

Parts come unweighted, by name; `objectives.py` weighs them. Libraries' losses where there are some: torchvision's
focal and GIoU losses, monai's Dice and focal losses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from tasks.kinds.segmentation.networks.finder import Answers
from tasks.kinds.segmentation.plan import Stage1Plan, Stage2Plan
from tasks.kinds.segmentation.training.matching import matched, relative_l1
from tasks.kinds.segmentation.training.monai_losses import dice_and_focal
from tasks.kinds.segmentation.training.targets import CellTargets, heat_of

Parts = dict[str, torch.Tensor]

_POSITIVE = 0.3
"""Heat from which on a place learns a cell's box."""


def finder_losses(answers: Answers, targets: Sequence[CellTargets], plan: Stage1Plan) -> Parts:
    """Set prediction's ce, l1, giou, and the dense head's heat, dense_l1, dense_giou, each per cell of the batch."""
    count = max(1, sum(len(cells) for cells in targets))
    wanted = torch.zeros_like(answers.logits, dtype=torch.float32)
    boxes, truth = [], []
    for number, cells in enumerate(targets):
        places, which = matched(answers, number, cells, plan)
        wanted[number, places, cells.labels[which]] = 1.0
        boxes.append(answers.boxes[number][places])
        truth.append(cells.boxes[which])
    parts = {
        "ce": sigmoid_focal_loss(answers.logits.float(), wanted, reduction="sum") / count,
        **_box_losses(torch.cat(boxes), torch.cat(truth), None, count),
    }
    if plan.dense_weight:
        parts |= {f"dense_{name}": value for name, value in _dense_losses(answers, targets, count).items()}
    return parts


def _box_losses(boxes: torch.Tensor, truth: torch.Tensor, weights: torch.Tensor | None, count: int) -> Parts:
    l1, giou = relative_l1(boxes, truth), generalized_box_iou_loss(boxes, truth)
    if weights is not None:
        l1, giou = l1 * weights, giou * weights
    return {"l1": l1.sum() / count, "giou": giou.sum() / count}


def _dense_losses(answers: Answers, targets: Sequence[CellTargets], count: int) -> Parts:
    heat = torch.zeros_like(answers.heat, dtype=torch.float32)
    boxes, truth, weights = [], [], []
    for number, cells in enumerate(targets):
        if not len(cells):
            continue
        own = heat_of(cells.boxes, answers.places)  # [n, q]
        best, whose = own.max(0)
        for label in cells.labels.unique():
            heat[number, :, label] = own[cells.labels == label].amax(0)
        places = torch.nonzero(best >= _POSITIVE)[:, 0]
        whose = whose[places]
        share = best[places] / torch.zeros(len(cells), device=own.device).index_add_(0, whose, best[places])[whose]
        boxes.append(answers.boxes[number][places])
        truth.append(cells.boxes[whose])
        weights.append(share)  # a cell's places count as one
    parts = {"heat": heat_loss(answers.heat.float(), heat) / count}
    if boxes:
        parts |= _box_losses(torch.cat(boxes), torch.cat(truth), torch.cat(weights), count)
    return parts


def heat_loss(logits: torch.Tensor, heat: torch.Tensor) -> torch.Tensor:
    """Focal loss that forgives places near a centre, summed (Law and Deng 2018, arXiv:1808.01244, equation 1)."""
    chance = logits.sigmoid()
    peak = heat == 1
    yes = (1 - chance) ** 2 * functional.logsigmoid(logits)
    no = (1 - heat) ** 4 * chance**2 * functional.logsigmoid(-logits)
    return -torch.where(peak, yes, no).sum()


def mask_losses(logits: torch.Tensor, wanted: torch.Tensor, plan: Stage2Plan) -> Parts:
    """Focal, Dice and boundary loss of masks.

    Args:
        logits: [n, side, side].
        wanted: In [0, 1], as `logits`.
        plan: Says how boxes count, see `box_weights`.
    """
    if not len(logits):
        return {name: logits.sum() for name in ("focal", "dice", "boundary")}
    dice, focal = dice_and_focal()
    logits, wanted = logits.float()[:, None], wanted[:, None]
    each = {
        "focal": focal(gamma=plan.focal_gamma, reduction="none")(logits, wanted).mean((1, 2, 3)),
        "dice": dice(sigmoid=True, reduction="none")(logits, wanted).flatten(),
        "boundary": boundary_losses(logits[:, 0], wanted[:, 0]),
    }
    total = plan.focal_weight * each["focal"] + plan.dice_weight * each["dice"]
    weights = box_weights((total + plan.boundary_weight * each["boundary"]).detach(), plan)
    return {name: (value * weights).mean() for name, value in each.items()}


def box_weights(losses: torch.Tensor, plan: Stage2Plan) -> torch.Tensor:
    """How much each box counts, [n], 1 on average: online hard example mining (Shrivastava et al. 2016).

    Args:
        losses: Of each box, [n], of which nothing is learned here.
        plan: 'plain': the `hard_share` of boxes with the highest losses alone; 'weighted': each as its loss.
    """
    if plan.hard_mining == "plain":
        kept = losses.topk(max(1, round(plan.hard_share * len(losses)))).indices
        return torch.zeros_like(losses).index_fill_(0, kept, len(losses) / len(kept))
    if plan.hard_mining == "weighted":
        weights: torch.Tensor = losses.clamp(min=0) + 1e-6
        return weights / weights.mean()
    return torch.ones_like(losses)


def boundary_losses(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """How far from the true boundary a mask is wrong, of each, [n] (Kervadec et al. 2019, arXiv:1812.07032).

    The mean of (chance - truth) x signed distance to the boundary, in sides of the grid: Kervadec's loss less its
    least value, so that it is 0 where the mask is right.
    """
    distance = torch.from_numpy(signed_distances(wanted.detach().cpu().numpy() > 0.5)).to(logits.device)
    return ((logits.sigmoid() - (wanted > 0.5).float()) * distance).mean((1, 2)) / logits.shape[-1]


def signed_distances(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Pixels to the boundary of each mask [n, h, w]: below 0 inside, above outside; 0 where a mask has none."""
    from scipy.ndimage import distance_transform_edt

    out = np.zeros(masks.shape, np.float32)
    for mask, into in zip(masks, out, strict=True):
        if mask.any() and not mask.all():
            outside, inside = distance_transform_edt(~mask), distance_transform_edt(mask)
            into[:] = np.where(mask, 0.5 - inside, outside - 0.5)
    return out


def star_losses(
    logits: torch.Tensor, rays: torch.Tensor, chances: torch.Tensor, true_rays: torch.Tensor, weights: torch.Tensor
) -> Parts:
    """StarDist's: cross-entropy of chances, and relative L1 of rays, weighted by how deep in its cell a place is.

    Args:
        logits, chances: [b, classes, h, w].
        rays, true_rays: In pixels, [b, RAYS, h, w].
        weights: [b, h, w], 0 on the ground.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits.float(), chances)
    apart = (rays.float().clamp(min=0.1).log() - true_rays.clamp(min=0.5).log()).abs().mean(1)
    return {"ce": entropy, "l1": (apart * weights).sum() / weights.sum().clamp(min=1)}
