"""What a training's step hears of its worker, and brings to safety: epochs, checkpoints, pictures."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tasks.errors import StepFailed
from tasks.kind import Event
from tasks.lake import Lake
from tasks.registry.runs import EpochMetrics
from tasks.schemas import Oid
from tasks.training.health import WHAT_TO_TRY, Plateau, plateau_of
from tasks.training.publish import PLATEAU, LiveLog
from tasks.training.records import Checkpoint, checkpoint_key, read_or_again, write

Progress = Callable[[str], None]


class TrainingRun:
    """One training as its step sees it: what it heard, and what it brought to safety."""

    def __init__(
        self, lake: Lake, key: str, live: LiveLog | None, progress: Progress, score: str | None = None
    ) -> None:
        self.lake, self.key, self.live, self.progress, self.score = lake, key, live, progress, score
        self.history: list[EpochMetrics] = []
        self.started: Event = {}
        self.finished: Event | None = None
        self.epoch = 0
        self.steps = 0
        self.resumed_from: int | None = None
        self.checkpoint: Oid | None = None
        self.nondeterministic: tuple[str, ...] = ()
        self.files: dict[str, Oid] = {}
        self._plateau: Plateau | None = None
        self._saved_at, self._cost_s = 0.0, 0.0

    def resume(self) -> Checkpoint | None:
        """The newest checkpoint in the lake; what was heard after it is forgotten. One that is not ours is none."""
        place = checkpoint_key(self.key)
        checkpoint = read_or_again(self.lake, place, Checkpoint, self.progress, again="and begun anew")
        self.history = list(checkpoint.history) if checkpoint else []
        self.epoch = checkpoint.epoch if checkpoint else 0
        self.started = dict(checkpoint.setup) if checkpoint else {}
        self.checkpoint = checkpoint.oid if checkpoint else None
        self.nondeterministic = checkpoint.nondeterministic if checkpoint else ()
        self.files = dict(checkpoint.files) if checkpoint else {}
        self.resumed_from = self.epoch or None
        if checkpoint:
            self.progress(f"going on from the checkpoint of epoch {checkpoint.epoch}")
        return checkpoint

    def hear(self, event: Event) -> None:
        """Act on one event of the worker."""
        match event["event"]:
            case "waiting":
                self.progress(f"waiting for {event['for']}")
            case "started":
                self.started = event
                parts = [name for name in ("member", "stage") if f"{name}s" in event]
                stage = "".join(f"{name} {event[name]} of {event[f'{name}s']}, " for name in parts)
                self.progress(
                    f"{stage}training on {event['device']}: {event['train_images']} images, "
                    f"{event['parameters']:,} parameters, {event['epochs']} epochs of {event['steps_per_epoch']} steps"
                )
            case "progress":
                losses = "".join(f"{name} {value:.3f} " for name, value in event["loss"].items())
                self.progress(
                    f"epoch {event['epoch']}/{event['epochs']} step {event['step']}/{event['steps']} {losses}"
                    f"({event['eta_s'] // 60:.0f}:{event['eta_s'] % 60:02.0f} to go)"
                )
            case "epoch":
                self.steps = event["step"]
                self.history.append(
                    EpochMetrics(
                        epoch=event["epoch"], at_ms=event["at_ms"], metrics={**event["metrics"], "step": event["step"]}
                    )
                )
                self._look_for_a_plateau(event)
            case "broken":
                raise diverged(self.key, event)
            case "checkpoint":
                self._save(Path(event["path"]), event["epoch"], always=event["last"] or event.get("stage_over", False))
            case "picture":
                self.files[event["name"]] = self.lake.blobs.put_file(Path(event["path"]))
            case "nondeterministic":
                self.nondeterministic = tuple(sorted({*self.nondeterministic, event["operation"]}))
            case "finished":
                self.finished = event

    def _look_for_a_plateau(self, event: Event) -> None:
        """Say at once that the training stands still, and that it does not any more."""
        found = plateau_of(self.history, self.score, int(event.get("epochs") or self.started.get("epochs") or 0))
        if (found is None) == (self._plateau is None):
            return
        said = str(found) if found else "getting better again"
        self.progress(f"epoch {event['epoch']}: {said}")
        if self.live:
            self.live.note(**{PLATEAU: said})
        self._plateau = found

    def _save(self, path: Path, epoch: int, *, always: bool) -> None:
        """Bring a checkpoint to the lake, as often as costs under one percent of the time; the first always."""
        began = time.monotonic()
        if always or began - self._saved_at >= 100 * self._cost_s:
            oid = self.lake.blobs.put_file(path)
            checkpoint = Checkpoint(
                oid=oid,
                epoch=epoch,
                history=tuple(self.history),
                setup=self.started,
                nondeterministic=self.nondeterministic,
                files=self.files,
            )
            write(self.lake, checkpoint_key(self.key), checkpoint)
            self.epoch, self.checkpoint = epoch, oid
            self._saved_at = time.monotonic()
            self._cost_s = self._saved_at - began
            if self.live:
                self.live.epochs(self.history)
        path.unlink()

    def failed(self, why: str = "") -> None:
        """Say so where the training is shown."""
        if self.live:
            self.live.failed(why)


def diverged(key: str, event: Event) -> StepFailed:
    """What is raised of a training whose loss is no number."""
    return StepFailed(
        f"training {key[:12]} broke in epoch {event['epoch']}, step {event['step']}: its {event['part']} is "
        f"{event['value']}",
        expected="a loss that is a number",
        found=str(event["value"]),
        fix=WHAT_TO_TRY,
    )
