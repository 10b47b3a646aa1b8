"""What a training costs while it runs: memory, steps, pictures. Used by the worker only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch

from tasks.kinds.segmentation.training.handover import table
from tasks.kinds.segmentation.training.sheets import predicted

if TYPE_CHECKING:
    from tasks.kinds.segmentation.training.setup import Setup
    from tasks.kinds.segmentation.training.trainer import SegmenterTraining

_MB = 2**20


def memory(device: str) -> dict[str, float]:
    """`memory/process_mb`, and on a GPU `memory/gpu_peak_mb` since it was last asked."""
    found = {"memory/process_mb": round(psutil.Process().memory_info().rss / _MB, 1)}
    if device.startswith("cuda"):
        found["memory/gpu_peak_mb"] = round(torch.cuda.max_memory_allocated(device) / _MB, 1)
        torch.cuda.reset_peak_memory_stats(device)
    return found


class Debug:
    """Keeps every step's parts of the loss and memory, and a picture of every measured epoch, if the plan wants it.

    Args:
        setup: Of the training.
        training: Keeps the steps, so that they are in its checkpoints.
    """

    def __init__(self, setup: Setup, training: SegmenterTraining) -> None:
        self._setup, self._training, self._on = setup, training, setup.plan.debug

    def step(self, step: int, epoch: int, parts: dict[str, float]) -> None:
        """A step is done."""
        if self._on:
            self._training.step_rows.append({"step": step, "epoch": epoch, **parts, **memory(self._setup.device)})

    def picture(self) -> None:
        """An epoch was measured."""
        training = self._training
        if self._on and training.validation is not None:
            path = self._setup.folder / f"epoch-{training.epoch:04d}.png"
            predicted(path, self._setup, training.averaged(), self._setup.spec, training.validation)

    def files(self) -> dict[str, Path]:
        """By the name that MLflow shows; pictures that are there of before a kill, too."""
        if not self._training.step_rows:
            return {}
        steps = table(self._setup.folder / "steps.csv", self._training.step_rows)
        pictures = {f"debug/{path.name}": path for path in sorted(self._setup.folder.glob("epoch-*.png"))}
        return {**pictures, "debug/steps.csv": steps}
