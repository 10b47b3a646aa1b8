"""What every training is watched by, whatever its kind: used by the worker only.

`Watched` stands between a training and its step: it adds to what the training reports (`progress`, `epoch`) what nobody
should have to measure twice, hands a copy to TensorBoard's files, and ends a training whose loss is no number.

    lr               of the optimizer's first group, at its last step
    gradient_norm    over all parameters, before it was clipped (see `note_gradient`); of an epoch the mean
    images_per_s     since the last report; of an epoch over the whole of it
    gpu_memory_mb    that torch holds; gpu_use_percent  as NVIDIA's driver has it. On a GPU alone

In an epoch's metrics they are called `speed/images_per_s`, `gpu/memory_mb`, `gpu/use_percent`, `gradient_norm`, and
`lr` where the training does not report a learning rate by itself. They change nothing that is learned.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from tasks.training.health import broken_part

Report = Callable[..., None]

NORM_EVERY_S = 1.0
"""How often a gradient is measured that nobody clips: its norm takes a look at every parameter."""
_MOST_WAITING = 1_000


class Broken(RuntimeError):
    """A loss is no number: the training is over."""


class Gradients:
    """The length of the gradient, and the learning rate, at the steps of the process's optimizers."""

    def __init__(self) -> None:
        self.rate: float | None = None
        self._waiting: list[Any] = []
        self._sum, self._count, self._newest = 0.0, 0, 0.0
        self._noted = False
        self._measured_at = 0.0

    def note(self, norm: Any) -> None:
        """A gradient was measured before its step, as clipping does. Kept as it is: a GPU is not waited for."""
        self._waiting.append(norm)
        self._noted = True
        if len(self._waiting) >= _MOST_WAITING:
            self._count_in()

    def before_step(self, optimizer: Any, *_: Any) -> None:
        """Torch's hook: an optimizer is about to step."""
        self.rate = float(optimizer.param_groups[0]["lr"])
        now = time.monotonic()
        if not self._noted and now - self._measured_at >= NORM_EVERY_S:
            import torch

            parameters = [each for group in optimizer.param_groups for each in group["params"]]
            gradients = [each.grad for each in parameters if each.grad is not None]
            if gradients:
                self._waiting.append(torch.nn.utils.get_total_norm(gradients))
            self._measured_at = now
        self._noted = False

    def taken(self, *, whole: bool) -> float | None:
        """The newest norm; or the mean since the last `whole`, without those that mixed precision made infinite."""
        self._count_in()
        if not self._count:
            return None
        value = self._sum / self._count if whole else self._newest
        if whole:
            self._sum, self._count = 0.0, 0
        return value

    def _count_in(self) -> None:
        for value in map(float, self._waiting):
            if value < float("inf"):  # nor is "not a number" below it
                self._sum, self._count, self._newest = self._sum + value, self._count + 1, value
        self._waiting = []


GRADIENTS = Gradients()
"""Of this process: a worker trains one model."""


def note_gradient(norm: Any) -> None:
    """Have a gradient's norm shown: wrap what clips it, `note_gradient(clip_grad_norm_(...))`."""
    GRADIENTS.note(norm)


class Watched:
    """Takes a training's events, adds what was measured, and hands them on.

    Args:
        report: Takes an event and its content: the worker's `Reporter`.
        show: Takes the same, to show it elsewhere.
    """

    def __init__(self, report: Report, show: Report | None = None) -> None:
        self.reporter, self._show = report, show
        self._images_per_step = 0.0
        self._last: tuple[float, int | None] = (time.monotonic(), None)
        self._epoch_began: tuple[float, int | None] = self._last
        self._hooked = False

    def __call__(self, event: str, **content: Any) -> None:
        """An event of the training."""
        if event == "started":
            self._start(content)
        elif event == "progress":
            refuse_broken(self.reporter, content["epoch"], content["step"], content["loss"])
            content |= {name: value for name, value in self._measured("_last", content).items() if name not in content}
        elif event == "epoch":
            own = content["metrics"]
            parts = {name: value for name, value in own.items() if name.startswith("train/")}
            refuse_broken(self.reporter, content["epoch"], content["step"], parts)
            content["metrics"] = {**self._of_epoch(content), **own}
        self.reporter(event, **content)
        if self._show:
            self._show(event, **content)

    def _start(self, started: Mapping[str, Any]) -> None:
        self._images_per_step = started["train_images"] / max(1, started["steps_per_epoch"])
        known = self._last[1]  # of a stage before; of a training that goes on nobody knows until its first report
        self._last = self._epoch_began = (time.monotonic(), 0 if started["first_epoch"] == 0 else known)
        if not self._hooked and "torch" in sys.modules:
            from torch.optim.optimizer import register_optimizer_step_pre_hook

            register_optimizer_step_pre_hook(GRADIENTS.before_step)
            self._hooked = True

    def _measured(self, since: str, content: Mapping[str, Any], *, whole: bool = False) -> dict[str, float]:
        """What there is to add to an event; remembers when that was, by the attribute's name."""
        began, step = getattr(self, since)
        now = time.monotonic()
        setattr(self, since, (now, content["step"]))
        found = {**gpu(), "lr": GRADIENTS.rate, "gradient_norm": GRADIENTS.taken(whole=whole)}
        if step is not None and content["step"] > step:
            found["images_per_s"] = round((content["step"] - step) * self._images_per_step / max(1e-6, now - began), 2)
        return {name: float(value) for name, value in found.items() if value is not None}

    def _of_epoch(self, content: Mapping[str, Any]) -> dict[str, float]:
        found = self._measured("_epoch_began", content, whole=True)
        if any(name == "lr" or name.startswith("lr/") for name in content["metrics"]):
            found.pop("lr", None)
        return {_EPOCH_NAMES.get(name, name): value for name, value in found.items()}


_EPOCH_NAMES = {
    "images_per_s": "speed/images_per_s", "gpu_memory_mb": "gpu/memory_mb", "gpu_use_percent": "gpu/use_percent",
}  # fmt: skip


def refuse_broken(report: Report, epoch: int, step: int, loss: Mapping[str, float]) -> None:
    """End the training where a part of its loss is no number.

    Args:
        report: Gets the event `broken`, by which the step knows what to say.
        epoch, step: Counted from 1.
        loss: Its parts, by name.

    Raises:
        Broken: It is over.
    """
    part = broken_part(loss)
    if part is None:
        return
    report("broken", epoch=epoch, step=step, part=part, value=str(loss[part]))
    raise Broken(f"epoch {epoch}, step {step}: {part} is {loss[part]}")


def gpu() -> dict[str, float]:
    """What the GPU of this process holds and does; empty where it computes on none, or nobody can tell."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return {}
    found = {"gpu_memory_mb": round(torch.cuda.memory_reserved() / 2**20, 1)}
    with suppress(ImportError, RuntimeError):  # without NVIDIA's library, or where the driver does not tell
        found["gpu_use_percent"] = float(torch.cuda.utilization())
    return found
