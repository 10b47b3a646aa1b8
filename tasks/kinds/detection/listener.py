"""Our own training callback: tells the step what happens, and writes checkpoints. Used by the worker only."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.kinds.detection.job import DetectorJob

if TYPE_CHECKING:
    from tasks.kinds.detection.trainer import ResumableDetectionTraining


class Listener:
    """Our own callback: tells the step what happens, and writes checkpoints."""

    def __init__(self, job: DetectorJob, trainer: ResumableDetectionTraining, report: Callable[..., None]) -> None:
        self.job, self.trainer, self.report = job, trainer, report
        self._told = self._began = time.monotonic()
        self._written, self._cost_s = 0.0, 0.0
        self._batches = 0

    def start(self) -> None:
        """Training is about to begin."""
        trainer = self.trainer
        self._began = time.monotonic()
        self._images = len(trainer.train_loader.dataset)
        self._per_epoch = len(trainer.train_loader)
        self.report(
            "started",
            device=str(trainer.device),
            hardware=hardware(trainer.device),
            parameters=sum(p.numel() for p in trainer.model.parameters()),
            train_images=self._images,
            epochs=trainer.epochs,
            steps_per_epoch=max(1, self._per_epoch // trainer.accumulate),
            first_epoch=trainer.start_epoch,
            imgsz=trainer.args.imgsz,
            rect=trainer.args.rect,
        )

    def batch(self) -> None:
        """A batch is done. Says so every few seconds."""
        self._batches += 1
        now = time.monotonic()
        if now - self._told < self.job.progress_every_s:
            return
        self._told = now
        trainer = self.trainer
        total = trainer.epochs * self._per_epoch
        done = trainer.start_epoch * self._per_epoch + self._batches
        self.report(
            "progress",
            epoch=trainer.epoch + 1,
            epochs=trainer.epochs,
            step=trainer.steps,
            steps=max(trainer.steps, round(trainer.steps * total / max(1, done))),
            loss={name: round(float(value), 4) for name, value in (trainer.tloss or {}).items()},
            eta_s=round((now - self._began) / self._batches * max(0, total - done)),
        )

    def epoch(self) -> None:
        """An epoch is done and `last.pt` is written."""
        trainer = self.trainer
        metrics = {**trainer.label_loss_items(trainer.tloss), **trainer.lr}
        if trainer.fitness is not None:
            metrics |= trainer.metrics | {"fitness": trainer.fitness}
        self.report(
            "epoch",
            epoch=trainer.epoch + 1,
            epochs=trainer.epochs,
            step=trainer.steps,
            at_ms=round(time.time() * 1000),
            metrics={name: float(value) for name, value in metrics.items()},
        )
        self._checkpoint(last=bool(trainer.stop))

    def _checkpoint(self, *, last: bool) -> None:
        """Write a checkpoint, as often as costs less than one percent of the time; the first and the last always."""
        began = time.monotonic()
        if not last and began - self._written < 100 * self._cost_s:
            return
        folder = self.job.folder / "checkpoints"
        folder.mkdir(exist_ok=True)
        path = folder / f"{self.trainer.epoch + 1:06d}.ckpt"
        partial = path.with_suffix(".partial")
        partial.write_bytes(self.trainer.checkpoint())
        partial.replace(path)
        self.report("checkpoint", epoch=self.trainer.epoch + 1, path=str(path), last=last)
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
