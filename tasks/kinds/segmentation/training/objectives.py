"""What a step of each stage wants to make small. Used by the worker only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torchvision.ops import box_iou

from tasks.kinds.segmentation.networks.decoder import SIDE, windows_of
from tasks.kinds.segmentation.networks.finder import cells_of
from tasks.kinds.segmentation.networks.star_convex import STRIDE
from tasks.kinds.segmentation.plan import Stage2Plan, TrainingPlan
from tasks.kinds.segmentation.training.losses import Parts, finder_losses, mask_losses, star_losses
from tasks.kinds.segmentation.training.star_targets import star_targets
from tasks.kinds.segmentation.training.targets import CellTargets, mask_targets

Targets = Sequence[CellTargets]

FOUND_SCORE = 0.3
"""Boxes of the finder that stage 2 learns from score at least this."""
SAME_IOU = 0.5
"""And overlap a true box by at least this: that cell's mask is then wanted."""


def losses_of(
    network: Any, stage: str, pictures: torch.Tensor, targets: Targets, plan: TrainingPlan, share: float,
    generator: torch.Generator,
) -> Parts:  # fmt: skip
    """The weighted parts of a step's loss.

    Args:
        network: Of the plan's model.
        stage: stage1 or stage2.
        pictures: [b, 3, h, w].
        targets: Of each picture.
        plan: Of the training.
        share: Of the stage's epochs that are over.
        generator: Of all chance.
    """
    if plan.model == "star-convex":
        return _star(network, pictures, targets, plan)
    if stage == "stage1":
        return _stage1(network, pictures, targets, plan, generator)
    return _stage2(network, pictures, targets, plan, share, generator)


def _star(network: Any, pictures: torch.Tensor, targets: Targets, plan: TrainingPlan) -> Parts:
    logits, rays = network(network.encode(pictures))
    wanted = [star_targets(cells, logits.shape[1], STRIDE) for cells in targets]
    chances, true_rays, weights = (torch.stack(each).to(pictures.device) for each in zip(*wanted, strict=True))
    parts = star_losses(logits, rays, chances, true_rays, weights)
    return {"ce": plan.stage1.ce_weight * parts["ce"], "l1": plan.stage1.l1_weight * parts["l1"]}


def _stage1(
    network: Any, pictures: torch.Tensor, targets: Targets, plan: TrainingPlan, generator: torch.Generator
) -> Parts:
    features, own = network.encode(pictures), plan.stage1
    parts = finder_losses(network.finder(features), targets, own)
    weights = {"ce": own.ce_weight, "l1": own.l1_weight, "giou": own.giou_weight}
    weights |= {f"dense_{name}": own.dense_weight * weights[name] for name in ("l1", "giou")}
    weights["dense_heat"] = own.dense_weight
    weighted = {name: weights[name] * value for name, value in parts.items()}
    if own.type == "all_backbones":
        prompts = [_drawn(cells, plan.stage2.most_boxes, generator) for cells in targets]
        boxes = [cells.boxes[which] for cells, which in zip(targets, prompts, strict=True)]
        masks = _mask_parts(network, features, targets, boxes, prompts, plan.stage2)
        weighted |= {f"mask_{name}": value for name, value in masks.items()}
    return weighted


def _stage2(
    network: Any, pictures: torch.Tensor, targets: Targets, plan: TrainingPlan, share: float,
    generator: torch.Generator,
) -> Parts:  # fmt: skip
    own = plan.stage2
    with torch.no_grad():
        features = network.encode(pictures)
        predicted = share >= 1 - own.predicted_share
        found = cells_of(network.finder(features), FOUND_SCORE) if predicted else None
    boxes, prompts = [], []
    for number, cells in enumerate(targets):
        which = torch.arange(len(cells), device=cells.boxes.device)
        prompt = cells.boxes if share < own.true_share else jittered(cells.boxes, own.jitter, generator)
        if found is not None:
            more, whose = _hits(found[number][0], cells)
            prompt, which = torch.cat([prompt, more]), torch.cat([which, whose])
        kept = _chosen(len(prompt), own.most_boxes, generator, prompt.device)
        boxes.append(prompt[kept])
        prompts.append(which[kept])
    return _mask_parts(network, features, targets, boxes, prompts, own)


def _mask_parts(
    network: Any, features: dict[int, torch.Tensor], targets: Targets, boxes: list[torch.Tensor],
    prompts: list[torch.Tensor], own: Stage2Plan,
) -> Parts:  # fmt: skip
    """Losses of the masks of boxes; `prompts` are the cells, by their place, that they are of."""
    windows = [windows_of(each) for each in boxes]
    wanted = [
        mask_targets(cells, which, its, SIDE) for cells, which, its in zip(targets, prompts, windows, strict=True)
    ]
    pictures = torch.cat([torch.full((len(each),), number) for number, each in enumerate(boxes)])
    shared = network.decoder.prepared(features)
    at = torch.cat(windows)
    if not len(at):  # nothing to fill: its loss is 0, and whatever learns gets a gradient of 0
        return {"focal": sum(each.sum() for each in shared.values()) * 0.0}
    logits = network.decoder(shared, torch.cat(boxes), pictures.to(at.device), at)
    parts = mask_losses(logits, torch.cat(wanted), own)
    weights = {"focal": own.focal_weight, "dice": own.dice_weight, "boundary": own.boundary_weight}
    return {name: weights[name] * value for name, value in parts.items()}


def jittered(boxes: torch.Tensor, most: float, generator: torch.Generator) -> torch.Tensor:
    """Boxes [n, 4] whose edges are moved by up to such a share of a side, as annotators and finders do."""
    sides = (boxes[:, 2:] - boxes[:, :2])[:, [0, 1, 0, 1]]
    moved = (torch.rand(boxes.shape, generator=generator) * 2 - 1) * most
    return boxes + moved.to(boxes.device) * sides


def _hits(found: torch.Tensor, cells: CellTargets) -> tuple[torch.Tensor, torch.Tensor]:
    """Of found boxes those that overlap a cell's enough, and that cell's place."""
    if not len(found) or not len(cells):
        return found[:0], cells.labels[:0]
    best, whose = box_iou(found, cells.boxes).max(1)
    return found[best >= SAME_IOU], whose[best >= SAME_IOU]


def _drawn(cells: CellTargets, most: int, generator: torch.Generator) -> torch.Tensor:
    return _chosen(len(cells), most, generator, cells.boxes.device)


def _chosen(count: int, most: int, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    return torch.randperm(count, generator=generator)[:most].to(device)
