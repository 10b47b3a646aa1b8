"""Our own callback of a training by ultralytics: tells the step what happens, writes checkpoints. For workers only."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from tasks.kind import Job
from tasks.training.meter import refuse_broken
from tasks.training.worker_reports import Checkpoints, hardware

Metrics = Mapping[str, float]


def nothing_more(_: Metrics) -> Metrics:
    """No metrics but ultralytics' own."""
    return {}


class TrainingCallbacks:
    """Our own callback: tells the step what happens, and writes checkpoints.

    Args:
        job: Of the training.
        trainer: Ultralytics'.
        report: Takes an event and its content.
        more: Metrics that follow from those of a validated epoch.
    """

    def __init__(
        self, job: Job, trainer: Any, report: Callable[..., None], more: Callable[[Metrics], Metrics] = nothing_more
    ) -> None:
        self.job, self.trainer, self.report, self._more = job, trainer, report, more
        self._told = self._began = time.monotonic()
        self._checkpoints = Checkpoints(job.folder, report)
        self._batches = 0

    def start(self) -> None:
        """Training is about to begin."""
        trainer, stage = self.trainer, self.trainer.stage
        self._began = time.monotonic()
        self._images = len(trainer.train_loader.dataset)
        self._per_epoch = len(trainer.train_loader)
        self.report(
            "started",
            device=str(trainer.device),
            hardware=hardware(trainer.device),
            parameters=sum(p.numel() for p in trainer.model.parameters()),
            train_images=self._images,
            epochs=self._epochs(),
            steps_per_epoch=max(1, self._per_epoch // trainer.accumulate),
            first_epoch=stage.first_epoch + trainer.start_epoch,
            imgsz=trainer.args.imgsz,
            rect=trainer.args.rect,
            **trainer.recorded,
            **({"stage": stage.number + 1, "stages": stage.count} if stage.count > 1 else {}),
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
        first = trainer.stage.first_epoch
        total = self._epochs() * self._per_epoch
        done = (first + trainer.start_epoch) * self._per_epoch + self._batches
        self.report(
            "progress",
            epoch=first + trainer.epoch + 1,
            epochs=self._epochs(),
            step=trainer.steps,
            steps=max(trainer.steps, round(trainer.steps * total / max(1, done))),
            loss={name: round(float(value), 4) for name, value in (trainer.tloss or {}).items()},
            eta_s=round((now - self._began) / self._batches * max(0, total - done)),
        )

    def _refuse_broken(self) -> None:
        """End the training at the first loss that is no number: ultralytics would train the epoch anew, three times."""
        trainer = self.trainer
        loss = {name: float(value) for name, value in (trainer.tloss or {}).items()}
        refuse_broken(self.report, trainer.stage.first_epoch + trainer.epoch + 1, trainer.steps, loss)

    def epoch(self) -> None:
        """An epoch is done and `last.pt` is written."""
        trainer = self.trainer
        epoch = trainer.stage.first_epoch + trainer.epoch + 1
        metrics = {**trainer.label_loss_items(trainer.tloss), **trainer.lr}
        if trainer.fitness is not None:
            metrics |= {**trainer.metrics, **self._more(trainer.metrics), "fitness": trainer.fitness}
        if trainer.stage.count > 1:
            metrics["stage"] = trainer.stage.number + 1
        self.report(
            "epoch",
            epoch=epoch,
            epochs=self._epochs(),
            step=trainer.steps,
            at_ms=round(time.time() * 1000),
            metrics={name: float(value) for name, value in metrics.items()},
        )
        if sheet := trainer.seen.written(trainer.csv.parent):
            self.report("picture", name=f"training/{sheet.name}", path=sheet)
        over = bool(trainer.stop)
        self._checkpoints.write(
            epoch, trainer.checkpoint, last=over and trainer.stage.last, stage_over=over and not trainer.stage.last
        )

    def _epochs(self) -> int:
        """Of all stages; ultralytics changes its own number where the time is what bounds a training."""
        stage = self.trainer.stage
        return int(stage.all_epochs if stage.count > 1 else self.trainer.epochs)
