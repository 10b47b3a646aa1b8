"""Training in stages, so that a killed training goes on as if nothing had happened. Used by the worker only.

Everything random in an epoch follows from (seed, epoch), and a checkpoint holds the weights, the optimizer and the
averages as they are: on a CPU, killed and resumed gives the same bytes as never killed, in either stage.
"""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

from tasks.kinds.segmentation.training.measure import scores_of
from tasks.kinds.segmentation.training.objectives import Targets, losses_of
from tasks.kinds.segmentation.training.setup import Setup
from tasks.kinds.segmentation.training.stages import (
    STAGE1,
    STAGE2,
    Stage,
    learning,
    parameter_groups,
    rate_at,
    stages_of,
    unfreeze,
)
from tasks.training.determinism import epoch_seed
from tasks.training.meter import note_gradient
from tasks.training.torch_setup import precision_of

AfterStep = Callable[[int, dict[str, float]], None]
"""Gets each step (counted over the whole training) and the parts of its loss."""


class SegmenterTraining:
    """A network that learns, epoch by epoch, stage by stage.

    Args:
        setup: What to learn from, and how.
        network: Where it starts.
        state: What `checkpoint` wrote, to go on from.
    """

    def __init__(self, setup: Setup, network: Any, state: dict[str, Any] | None = None) -> None:
        self.setup, self.plan = setup, setup.plan
        self.network = network.to(setup.device, memory_format=torch.channels_last)
        self.crops = setup.crops("train")
        self.validation = setup.crops("val") if setup.has_val else None
        self.stages = stages_of(setup.plan, len(self.crops))
        self.epoch, self.steps, self.finished = 0, 0, not self.stages
        self.rows: list[dict[str, Any]] = []
        self.step_rows: list[dict[str, Any]] = []
        """Of `monitor.Debug`: kept with the checkpoint, so that a resumed training has each step once."""
        self._number, self._began, self._began_step = 0, 0, 0
        self._precision, scaled = precision_of(setup.plan.amp, setup.device)
        self._scaler = torch.amp.GradScaler(setup.device.partition(":")[0], enabled=scaled)
        self._best: dict[str, Any] = {"score": -math.inf, "epoch": 0, "weights": None}
        self._enter()
        if state:
            self._restore(state)

    @property
    def stage(self) -> Stage:
        """The one that goes on."""
        return self.stages[self._number]

    @property
    def epochs(self) -> int:
        """Of all stages, if none ends early."""
        return sum(stage.epochs for stage in self.stages)

    @property
    def steps_per_epoch(self) -> int:
        """Of the optimizer."""
        return self.stages[0].steps_per_epoch if self.stages else 0

    def run_epoch(self, after_step: AfterStep) -> dict[str, float]:
        """Train one epoch, and measure on the validation split where it is time.

        Returns:
            `train/<stage>/loss` and its parts, `lr`, `stage`, and `val/<score>`.
        """
        name, sums, rate = self.stage.name, dict[str, float](), 0.0
        torch.manual_seed(epoch_seed(self.setup.seed, self.epoch))
        for pictures, targets in self._batches():
            rate = rate_at(self.plan, self.stage, self.steps - self._began_step)
            parts = self._step(pictures, targets, rate)
            self.steps += 1
            for part, value in parts.items():
                sums[part] = sums.get(part, 0.0) + value / self.stage.steps_per_epoch
            after_step(self.steps, parts)
        self.epoch += 1
        scores = self._measured()
        metrics = {f"train/{name}/{part}": value for part, value in sums.items()}
        metrics |= {"lr": rate, "stage": float(name[-1]), **{f"val/{key}": value for key, value in scores.items()}}
        self.rows.append({"epoch": self.epoch, "step": self.steps, **metrics})
        if self.epoch - self._began >= self.stage.epochs or (scores and self._stalled()):
            self._leave()
        return metrics

    def scores(self) -> dict[str, float]:
        """Scores of the network as it is on the validation split; empty where there is none."""
        if self.validation is None:
            return {}
        found = self.plan.model == "two-stage"
        outlines = not found or self.stage.name == STAGE2 or self.plan.stage1.type == "all_backbones"
        scores, _ = scores_of(
            self.averaged(), self.setup.spec, self.validation, self.setup.device,
            boxes=found and self.stage.name == STAGE1, of_masks=outlines,
        )  # fmt: skip
        return scores

    def chosen(self) -> Any:
        """The network to hand over; a stage that ends puts its best epoch's weights, or its last, into the network."""
        return copy.deepcopy(self.network).eval()

    def checkpoint(self) -> bytes:
        """Everything needed to go on after the epoch just ended: tensors and plain values alone."""
        buffer = io.BytesIO()
        state = {
            "epoch": self.epoch, "steps": self.steps, "finished": self.finished, "stage": self._number,
            "began": self._began, "began_step": self._began_step, "best": self._best, "rows": self.rows,
            "step_rows": self.step_rows,
            "network": self.network.state_dict(), "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": self._average.module.state_dict() if self._average else None,
        }  # fmt: skip
        torch.save(state, buffer)
        return buffer.getvalue()

    def _restore(self, state: dict[str, Any]) -> None:
        self.epoch, self.steps, self.finished = state["epoch"], state["steps"], state["finished"]
        self._number, self.rows, self.step_rows = state["stage"], state["rows"], state.get("step_rows", [])
        self.network.load_state_dict(state["network"])
        self._enter()
        self._began, self._began_step, self._best = state["began"], state["began_step"], state["best"]
        if self._average:
            self._average.module.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])

    def _enter(self) -> None:
        """Begin the stage: what learns in it, with an optimizer and an average of its own."""
        from timm.utils import ModelEmaV3

        self._began, self._began_step = self.epoch, self.steps
        self._best = {"score": -math.inf, "epoch": self.epoch, "weights": None}
        if not self.stages:
            return
        unfreeze(self.network, learning(self.network, self.plan, self.stage.name))
        self._optimizer = torch.optim.AdamW(parameter_groups(self.network, self.plan), lr=0.0)
        self._average = ModelEmaV3(self.network, decay=self.plan.ema, use_warmup=True) if self.plan.ema else None

    def _leave(self) -> None:
        """End the stage with its best epoch's weights, or its last, and go to the next if there is one."""
        weights = self._best["weights"] if self.plan.keep == "best" else None
        self.network.load_state_dict(weights or self.averaged().state_dict())
        if self._number + 1 == len(self.stages):
            self.finished = True
            return
        self._number += 1
        self._enter()

    def averaged(self) -> Any:
        """The network that is measured: the average of weights, where the plan keeps one."""
        return self._average.module if self._average else self.network

    def _step(self, pictures: torch.Tensor, targets: Targets, rate: float) -> dict[str, float]:
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        device = self.setup.device
        generator = torch.Generator().manual_seed(epoch_seed(self.setup.seed, self.steps))
        share = (self.epoch - self._began) / self.stage.epochs
        with torch.autocast(device.partition(":")[0], self._precision, enabled=self._precision is not None):
            parts = losses_of(
                self.network, self.stage.name, pictures.to(device), [cells.to(device) for cells in targets], self.plan,
                share, generator,
            )  # fmt: skip
        loss = torch.stack([part.float() for part in parts.values()]).sum()
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()
        if self.plan.clip_norm:
            self._scaler.unscale_(self._optimizer)
            note_gradient(torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.clip_norm))
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._average:
            self._average.update(self.network, step=self.steps - self._began_step)
        return {"loss": float(loss.detach()), **{name: float(part.detach()) for name, part in parts.items()}}

    def _batches(self) -> Iterator[tuple[torch.Tensor, Targets]]:
        """Crops of every picture, as often as the plan shows it, shuffled by (seed, epoch)."""
        generator = torch.Generator().manual_seed(epoch_seed(self.setup.seed, self.epoch))
        count = len(self.crops)
        order = torch.randperm(count * self.plan.crops_per_picture, generator=generator) % count
        for start in range(0, len(order), self.plan.batch_size):
            indices = order[start : start + self.plan.batch_size].tolist()
            yield self.crops.batch(indices, self.plan.augmentation, self.epoch, start)

    def _measured(self) -> dict[str, float]:
        """Scores where it is time; remembers the best epoch's weights."""
        done = self.epoch - self._began
        if done % self.plan.val_every and done < self.stage.epochs:
            return {}
        scores = self.scores()
        if not scores:
            return {}
        counted = [scores[name] for name in ("boxes_AP50_pooled", "AP50_pooled", "PQ") if name in scores]
        score = sum(counted) / len(counted)
        if score > self._best["score"]:
            weights = {name: value.detach().clone() for name, value in self.averaged().state_dict().items()}
            self._best = {"score": score, "epoch": self.epoch, "weights": weights}
        return scores

    def _stalled(self) -> bool:
        """Whether the stage has gone on too long without a better epoch; of an epoch that was measured."""
        patience = self.stage.plan.patience
        return bool(patience) and self._best["weights"] is not None and self.epoch - self._best["epoch"] >= patience
