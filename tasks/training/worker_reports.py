"""What every worker tells its step: what it runs on, how far it is, and its checkpoints. Used by the worker only."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.training.meter import refuse_broken


class Checkpoints:
    """Writes checkpoints as often as costs less than one percent of the time; the first and a stage's last always.

    Args:
        folder: Scratch of the training.
        report: Takes an event and its content.
    """

    def __init__(self, folder: Path, report: Callable[..., None]) -> None:
        self._folder, self._report = folder / "checkpoints", report
        self._written, self._cost_s = 0.0, 0.0

    def write(self, epoch: int, content: Callable[[], bytes], *, last: bool, stage_over: bool = False) -> None:
        """Write one, if it is time.

        Args:
            epoch: Epochs finished.
            content: Makes the file's bytes.
            last: Whether the training ends with this epoch.
            stage_over: Whether a stage of it does.
        """
        began = time.monotonic()
        if not (last or stage_over) and began - self._written < 100 * self._cost_s:
            return
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"{epoch:06d}.ckpt"
        partial = path.with_suffix(".partial")
        partial.write_bytes(content())
        partial.replace(path)
        more = {"stage_over": True} if stage_over else {}
        self._report("checkpoint", epoch=epoch, path=str(path), last=last, **more)
        self._written = time.monotonic()
        self._cost_s = self._written - began


def hardware(device: Any) -> dict[str, Any]:
    """What this training runs on."""
    import torch

    model = next((x.split(":", 1)[1].strip() for x in _cpuinfo() if x.startswith("model name")), platform.processor())
    found = {"cpu": model, "cpu_threads": torch.get_num_threads(), "platform": platform.platform()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "gpu": properties.name,
            "gpu_memory_gb": round(properties.total_memory / 2**30, 1),
            "cuda": torch.version.cuda,
        }
    return found


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


class Pace:
    """Reports `progress` every few seconds, with the time to go; ends a training whose loss is no number, at once.

    Args:
        report: Takes an event and its content.
        every_s: How often.
        epochs: Of the whole training.
        steps: Of the whole training.
        first_step: Steps that were done before this process began.
    """

    def __init__(
        self, report: Callable[..., None], every_s: float, *, epochs: int, steps: int, first_step: int
    ) -> None:
        self._report, self._every_s, self._epochs, self._steps = report, every_s, epochs, steps
        self._first_step = first_step
        self._began = self._told = time.monotonic()

    def step(self, step: int, epoch: int, loss: dict[str, float]) -> None:
        """A step is done.

        Args:
            step: Counted over the whole training, from 1.
            epoch: Counted from 1.
            loss: By name.
        """
        refuse_broken(self._report, epoch, step, loss)
        now = time.monotonic()
        if now - self._told < self._every_s:
            return
        self._told = now
        done, left = max(1, step - self._first_step), max(0, self._steps - step)
        self._report(
            "progress", epoch=epoch, epochs=self._epochs, step=step, steps=self._steps,
            loss={name: round(value, 4) for name, value in loss.items()},
            eta_s=round((now - self._began) / done * left),
        )  # fmt: skip
