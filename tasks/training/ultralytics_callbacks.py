"""Our own callback of a training by ultralytics: tells the step what happens, writes checkpoints. For workers only."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tasks.kind import Job
from tasks.training.meter import refuse_broken
from tasks.training.worker_reports import Checkpoints, hardware


class TrainingCallbacks:
    """Our own callback: tells the step what happens, and writes checkpoints."""

    def __init__(self, job: Job, trainer: Any, report: Callable[..., None]) -> None:
        self.job, self.trainer, self.report = job, trainer, report
        self._told = self._began = time.monotonic()
        self._checkpoints = Checkpoints(job.folder, report)
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
        self._refuse_broken()
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

    def _refuse_broken(self) -> None:
        """End the training at the first loss that is no number: ultralytics would train the epoch anew, three times."""
        trainer = self.trainer
        loss = {name: float(value) for name, value in (trainer.tloss or {}).items()}
        refuse_broken(self.report, trainer.epoch + 1, trainer.steps, loss)

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
        self._checkpoints.write(trainer.epoch + 1, trainer.checkpoint, last=bool(trainer.stop))
