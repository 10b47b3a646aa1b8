"""Training a network end to end, so that a killed training goes on as if nothing had happened. Used by the worker only.

Everything random in an epoch follows from (seed, epoch), and a checkpoint holds the weights, the optimizer and the
averages as they are: on a CPU, killed and resumed gives the same bytes as never killed.
"""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from tasks.kinds.classification.augmentation import augmentation
from tasks.kinds.classification.inference import as_input, logits_of_squares
from tasks.kinds.classification.losses import loss_of, picture_weights
from tasks.kinds.classification.pictures import Pictures
from tasks.kinds.classification.scores import scores_of
from tasks.kinds.classification.setup import Setup
from tasks.kinds.classification.stages import parameter_groups, rate_at, schedule_of, set_modes, unfreeze
from tasks.training.determinism import epoch_seed
from tasks.training.meter import note_gradient
from tasks.training.torch_setup import precision_of

_HIGHER_IS_BETTER = frozenset({"accuracy", "balanced_accuracy", "ROC_AUC"})

AfterStep = Callable[[int, float | None], None]
"""Gets each step (counted over the whole training) and its loss; None where a step has none."""


class NetworkTraining:
    """A network that learns, epoch by epoch.

    Args:
        setup: What to learn from, and how.
        network: Where it starts.
        state: What `checkpoint` wrote, to go on from.
    """

    def __init__(self, setup: Setup, network: Any, state: dict[str, Any] | None = None) -> None:
        self.setup, self.plan = setup, setup.plan
        self._sort = setup.device.partition(":")[0]
        self.network = network.to(setup.device, memory_format=torch.channels_last)
        self.pictures = setup.pictures("train", augmentation(setup.plan))
        self.validation = setup.pictures("val") if setup.has_val else None
        self.schedule = schedule_of(setup.plan, len(self.pictures))
        self.epochs, self.steps_per_epoch = self.schedule.epochs, self.schedule.steps_per_epoch
        self._loss = loss_of(setup.plan, self.pictures.targets, multi_label=setup.dataset.multi_label)
        self._precision, scaled = precision_of(setup.plan.amp, setup.device)
        self._scaler = torch.amp.GradScaler(self._sort, enabled=scaled)
        self.epoch, self.steps, self.finished = 0, 0, False
        self.rows: list[dict[str, float]] = []
        self._stage = -1
        self._best: dict[str, Any] = {"score": -math.inf, "epoch": 0, "weights": None}
        self._average = self._new_average()
        if state:
            self._restore(state)

    def run_epoch(self, after_step: AfterStep) -> dict[str, float]:
        """Train one epoch, and measure on the validation split where there is one.

        Returns:
            `train/loss`, `lr`, and `val/<score>`.
        """
        self._enter_stage()
        torch.manual_seed(epoch_seed(self.setup.seed, self.epoch))
        set_modes(self.network)
        total, rate = 0.0, 0.0
        for step, (squares, targets) in enumerate(self._batches()):
            rate = rate_at(self.plan, self.schedule, self.epoch, step)
            loss = self._step(squares.to(self.setup.device), targets.to(self.setup.device), rate)
            self.steps += 1
            total += loss
            after_step(self.steps, loss)
        metrics = {"train/loss": total / self.steps_per_epoch, "lr": rate}
        self.epoch += 1
        scores = self._validate()
        self.finished = self.epoch >= self.epochs or self._stalled(scores)
        metrics |= {f"val/{name}": value for name, value in scores.items()}
        self.rows.append({"epoch": self.epoch, "step": self.steps, **metrics})
        return metrics

    def chosen(self) -> Any:
        """The network to hand over: of the best epoch, or of the last one, as the plan says."""
        network = copy.deepcopy(self._averaged())
        if self.plan.keep == "best" and self._best["weights"] is not None:
            network.load_state_dict(self._best["weights"])
        return network.eval()

    def checkpoint(self) -> bytes:
        """Everything needed to go on after the epoch just ended: tensors and plain values alone."""
        buffer = io.BytesIO()
        state = {
            "epoch": self.epoch, "steps": self.steps, "finished": self.finished, "stage": self._stage,
            "best": self._best, "network": self.network.state_dict(), "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(), "rows": self.rows,
            "average": self._average.module.state_dict() if self._average else None,
        }  # fmt: skip
        torch.save(state, buffer)
        return buffer.getvalue()

    def _restore(self, state: dict[str, Any]) -> None:
        self.epoch, self.steps, self.finished = state["epoch"], state["steps"], state["finished"]
        self._best, self.rows = state["best"], state["rows"]
        self.network.load_state_dict(state["network"])
        if self._average:
            self._average.module.load_state_dict(state["average"])
        self._stage = state["stage"]
        self._optimizer = self._new_optimizer()
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])

    def _enter_stage(self) -> None:
        stage = self.schedule.stage_of(self.epoch)
        if stage != self._stage:
            self._stage = stage
            self._optimizer = self._new_optimizer()

    def _new_optimizer(self) -> torch.optim.Optimizer:
        stage = self.schedule.stages[self._stage]
        unfreeze(self.network, stage.train)
        groups = parameter_groups(self.network, self.plan)
        if self.plan.optimizer == "SGD":
            return torch.optim.SGD(groups, lr=stage.lr, momentum=self.plan.momentum, nesterov=self.plan.momentum > 0)
        return torch.optim.AdamW(groups, lr=stage.lr)

    def _new_average(self) -> Any:
        from timm.utils import ModelEmaV3

        return ModelEmaV3(self.network, decay=self.plan.ema, use_warmup=True) if self.plan.ema else None

    def _averaged(self) -> Any:
        return self._average.module if self._average else self.network

    def _step(self, squares: torch.Tensor, targets: torch.Tensor, rate: float) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        pictures, wanted = mixed(as_input(squares, self.setup.spec), targets, self.plan.mixup)
        with torch.autocast(self._sort, self._precision, enabled=self._precision is not None):
            logits = self.network(pictures)
        loss = self._loss(logits, wanted)
        self._optimizer.zero_grad()
        self._scaler.scale(loss).backward()
        if self.plan.clip_norm:
            self._scaler.unscale_(self._optimizer)
            note_gradient(torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.clip_norm))
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._average:
            self._average.update(self.network, step=self.steps)
        return float(loss.detach())

    def _batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        self.pictures.epoch = self.epoch
        order = order_of(self.pictures, self.plan.sampler, self.setup.seed, multi_label=self.setup.dataset.multi_label)
        size, steps = self.plan.batch, self.steps_per_epoch
        batches = [order[start : start + size] for start in range(0, steps * size, size)]
        return iter(DataLoader(self.pictures, batch_sampler=batches, num_workers=self.plan.workers))

    def _validate(self) -> dict[str, float]:
        if self.validation is None:
            return {}
        logits = network_logits(self._averaged(), self.validation, self.setup)
        targets = self.validation.targets.numpy().astype(np.float64)
        return scores_of(logits, targets, multi_label=self.setup.dataset.multi_label)

    def _stalled(self, scores: dict[str, float]) -> bool:
        """Remember the best epoch; whether the last stage has gone on too long without a better one."""
        score = scores.get(self.plan.monitor)
        if score is None:
            return False
        score = score if self.plan.monitor in _HIGHER_IS_BETTER else -score
        if score > self._best["score"]:
            weights = {name: value.detach().clone() for name, value in self._averaged().state_dict().items()}
            self._best = {"score": score, "epoch": self.epoch, "weights": weights}
        last = len(self.schedule.stages) - 1
        since = max(self._best["epoch"], self.schedule.begins(last))
        return bool(self.plan.patience) and self._stage == last and self.epoch - since >= self.plan.patience


def network_logits(network: Any, pictures: Pictures, setup: Setup, *, tta: bool = False) -> NDArray[np.float64]:
    """Logits [pictures, classes], float64, of a network that may be training."""
    was_training = network.training
    logits = logits_of_squares(network.eval(), pictures.batches(), setup.spec, tta=tta, device=setup.device)
    network.train(was_training)
    return logits


def order_of(pictures: Pictures, sampler: str, seed: int, *, multi_label: bool) -> list[int]:
    """In which order an epoch shows the pictures, by (seed, epoch) alone: shuffled, or rare classes more often."""
    generator = torch.Generator()
    generator.manual_seed(epoch_seed(seed, pictures.epoch))
    count = len(pictures)
    if sampler == "shuffle":
        order: list[int] = torch.randperm(count, generator=generator).tolist()
        return order
    weights = picture_weights(pictures.targets, multi_label=multi_label).double()
    drawn: list[int] = torch.multinomial(weights, count, replacement=True, generator=generator).tolist()
    return drawn


def mixed(pictures: torch.Tensor, targets: torch.Tensor, alpha: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Mixup (Zhang et al. 2018, arXiv:1710.09412): a batch and the same in another order, laid over each other.

    A label that is not known of one of two pictures is not known of their mixture.
    """
    if not alpha:
        return pictures, targets
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    other = torch.randperm(len(pictures))
    return (
        share * pictures + (1 - share) * pictures[other.to(pictures.device)],
        share * targets + (1 - share) * targets[other.to(targets.device)],
    )
