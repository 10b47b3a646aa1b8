"""Stages of a training: what learns in each, for how long, how fast. Used by the worker only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import nn

from tasks.kinds.segmentation.plan import Stage1Plan, Stage2Plan, TrainingPlan

STAGE1, STAGE2 = "stage1", "stage2"


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: stage1 or stage2.
        plan: Of it.
        epochs: It may end before, see `patience`.
        steps_per_epoch: Of the optimizer.
    """

    name: str
    plan: Stage1Plan | Stage2Plan
    epochs: int
    steps_per_epoch: int

    @property
    def steps(self) -> int:
        """Of all its epochs."""
        return self.epochs * self.steps_per_epoch


def stages_of(plan: TrainingPlan, pictures: int) -> list[Stage]:
    """The stages of a training on so many pictures; stage 1 is prolonged until `min_steps` are taken."""
    steps = max(1, math.ceil(pictures * plan.crops_per_picture / plan.batch_size))
    first = plan.stage1.total_epochs
    if first:
        first = max(first, math.ceil(plan.min_steps / steps))
    stages = [Stage(STAGE1, plan.stage1, first, steps)]
    if plan.model == "two-stage":
        stages.append(Stage(STAGE2, plan.stage2, plan.stage2.total_epochs, steps))
    return [stage for stage in stages if stage.epochs]


def rate_at(plan: TrainingPlan, stage: Stage, step: int) -> float:
    """Learning rate of a step (counted within its stage): a linear rise, then half a cosine down to `lr_final`."""
    rise = min(plan.warmup_steps, stage.steps // 2)
    highest = stage.plan.learning_rate
    if step < rise:
        return highest * (step + 1) / (rise + 1)
    share = (step - rise) / max(1, stage.steps - rise)
    return highest * (plan.lr_final + (1 - plan.lr_final) * (1 + math.cos(math.pi * share)) / 2)


def learning(network: Any, plan: TrainingPlan, stage: str) -> list[nn.Module]:
    """The parts of a network that learn in a stage."""
    if plan.model == "star-convex":
        heads = [network.trunk, network.chance, network.rays]
        return [*_neck(network), *heads] if plan.stage1.type == "cellfinder" else [network]
    if stage == STAGE2:
        return [network.decoder]
    if plan.stage1.type == "all_backbones":
        return [network]
    return [network.finder, *(_neck(network) if plan.stage1.type == "cellfinder" else [network.encoder])]


def _neck(network: Any) -> list[nn.Module]:
    """The encoder but for what comes with weights from elsewhere: a fresh pyramid must learn, or nothing can."""
    inner = network.encoder.pretrained()
    return [module for module in network.encoder.children() if module is not inner]


def unfreeze(network: nn.Module, parts: list[nn.Module]) -> None:
    """Have these parts learn and no others; what is frozen keeps its statistics, too."""
    network.eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    for part in parts:
        part.train()
        for parameter in part.parameters():
            parameter.requires_grad_(True)


def parameter_groups(network: Any, plan: TrainingPlan) -> list[dict[str, Any]]:
    """What learns, for the optimizer: no decay of biases and norms; `lr_scale` of the encoder's own weights."""
    inner = {id(parameter) for parameter in network.encoder.pretrained().parameters()}
    groups: dict[tuple[float, float], list[Any]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            scale = plan.encoder_lr if id(parameter) in inner else 1.0
            decay = plan.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((scale, decay), []).append(parameter)
    return [{"params": params, "lr_scale": scale, "weight_decay": decay} for (scale, decay), params in groups.items()]
