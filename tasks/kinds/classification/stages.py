"""Stages of a training: which layers learn, for how many epochs, how fast. Used by the worker only."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tasks.errors import ConfigError
from tasks.kinds.classification.plan import StagePlan, TrainingPlan


@dataclass(frozen=True)
class Schedule:
    """When which stage is: stages with their epochs, and the steps of an epoch."""

    stages: tuple[StagePlan, ...]
    steps_per_epoch: int

    @property
    def epochs(self) -> int:
        """Of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    def stage_of(self, epoch: int) -> int:
        """Which stage an epoch belongs to, both counted from 0."""
        for number, stage in enumerate(self.stages):
            if epoch < stage.epochs:
                return number
            epoch -= stage.epochs
        return len(self.stages) - 1

    def begins(self, number: int) -> int:
        """The epoch that a stage begins with."""
        return sum(stage.epochs for stage in self.stages[:number])


def schedule_of(plan: TrainingPlan, pictures: int) -> Schedule:
    """The plan's stages for so many pictures: the last one is prolonged until `min_steps` are taken."""
    steps = steps_per_epoch(pictures, plan.batch)
    *before, last = plan.staged()
    lacking = math.ceil(plan.min_steps / steps) - sum(stage.epochs for stage in before)
    return Schedule((*before, last.model_copy(update={"epochs": max(last.epochs, lacking)})), steps)


def steps_per_epoch(pictures: int, batch: int) -> int:
    """A picture that would be left alone is left out of an epoch: batch norm has nothing to average."""
    return max(1, pictures // batch + (pictures % batch > 1))


def refuse_batches_of_one(network: nn.Module, plan: TrainingPlan) -> None:
    """Refuse a batch of one picture where the network normalises over a batch, and one picture gives it one value.

    Raises:
        ConfigError: It does, at the plan's size of pictures.
    """
    trial = copy.deepcopy(network).train()
    try:
        with torch.no_grad():
            trial(torch.zeros(1, 3, plan.imgsz, plan.imgsz))
    except ValueError as error:  # torch's, of batch norm
        raise ConfigError(
            f"recipe: {plan.model} cannot learn from batches of one picture of {plan.imgsz} px",
            expected="batch: 2 or more, or larger pictures",
            found=f"batch 1: {error}",
            fix="set `batch` to 2 or more",
        ) from error


def rate_at(plan: TrainingPlan, schedule: Schedule, epoch: int, step: int) -> float:
    """Learning rate of a step (counted within its epoch): a linear rise, then half a cosine down to `lr_final`."""
    number = schedule.stage_of(epoch)
    stage = schedule.stages[number]
    done = (epoch - schedule.begins(number)) * schedule.steps_per_epoch + step
    total = stage.epochs * schedule.steps_per_epoch
    rise = min(round(plan.warmup_epochs * schedule.steps_per_epoch), total // 2)
    if done < rise:
        return stage.lr * (done + 1) / (rise + 1)
    share = (done - rise) / max(1, total - rise)
    return stage.lr * (plan.lr_final + (1 - plan.lr_final) * (1 + math.cos(math.pi * share)) / 2)


def unfreeze(network: nn.Module, train: str | int) -> None:
    """Have these layers learn and no others: 'head', 'all', or the head and so many of the last blocks."""
    head = {id(parameter) for parameter in network.get_classifier().parameters()}
    learning = _last_blocks(network, train) if isinstance(train, int) else set()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(train == "all" or id(parameter) in head or name in learning)


def set_modes(network: nn.Module) -> None:
    """Training mode; but what is frozen keeps its statistics, too."""
    network.train()
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not any(one.requires_grad for one in own):
            module.eval()


def parameter_groups(network: nn.Module, plan: TrainingPlan) -> list[dict[str, Any]]:
    """What learns, for the optimizer: no decay of biases and norms; `lr_scale` by depth where the plan wants that."""
    from timm.optim import param_groups_layer_decay, param_groups_weight_decay

    if plan.layer_decay < 1:
        groups: list[dict[str, Any]] = param_groups_layer_decay(
            network, plan.weight_decay, layer_decay=plan.layer_decay
        )
    else:
        groups = param_groups_weight_decay(network, plan.weight_decay)
    return [group for group in groups if group["params"]]


def _last_blocks(network: nn.Module, count: int) -> set[str]:
    """Names of the parameters of the last blocks, as the network itself counts them."""
    from timm.models import group_parameters

    depth = group_parameters(network, network.group_matcher(coarse=True), reverse=True)
    blocks = sorted(set(depth.values()))[-count - 1 :]
    return {name for name, block in depth.items() if block in blocks}
