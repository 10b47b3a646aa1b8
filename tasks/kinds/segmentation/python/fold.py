"""One training of an experiment, in the worker's process, as in a line's nights; killed, it goes on where it was."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic import Field

from tasks.config import load_settings
from tasks.errors import ConfigError
from tasks.kind import Event, Job, Kind, Recipe
from tasks.kinds.segmentation.python.files import write_json
from tasks.schemas import Frozen, digest
from tasks.stack.devices import present
from tasks.training import supervise
from tasks.training.devices import wanted
from tasks.training.starting import weights_path

RESTARTS = 3
"""How often in a row a worker that a signal ended is started again without having saved another epoch."""
_STATE = "state.json"


class TrainedFold(Frozen):
    """What a finished training left.

    Attributes:
        weights: File of weights, of both stages.
        epochs: The metrics of each epoch, with `epoch` and `step`.
        review: What the training measured in the end.
        files: Pictures and tables by name.
        seconds: Of the training, without what kills cost.
        resumed: Epochs after which it went on in another process.
    """

    weights: Path
    epochs: tuple[dict[str, Any], ...] = ()
    review: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, Path] = Field(default_factory=dict)
    seconds: float = 0.0
    resumed: tuple[int, ...] = ()


def train_fold(
    recipe: Recipe, data: Path, folder: Path, *, has_val: bool, log: logging.Logger, locks: Path | None = None
) -> TrainedFold:
    """Train a recipe on a dataset, or go on with it; what is finished is returned as it is.

    Args:
        recipe: Checked.
        data: A `CellDataset` on disk.
        folder: The training's own.
        has_val: Whether the dataset has a validation split.
        log: Hears how it goes.
        locks: Where the locks of devices lie; None: the installation's, so that nights and scripts take turns.

    Raises:
        ConfigError: The recipe names something that is not there.
        StepFailed: The training failed.
        StepKilled: It was killed again and again.
    """
    key = digest("fold", recipe.fingerprint(), data.read_text(), has_val)
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(folder, key, log)
    kills, reached = 0, 0
    while run.trained is None:
        job = _job(recipe, data, folder, key, has_val, run.checkpoint, locks)
        try:
            with closing(supervise.events(job, folder / "training.log")) as events:
                for event in events:
                    run.hear(event)
        except supervise.WorkerKilled as error:
            kills, reached = 1 if run.epoch > reached else kills + 1, run.epoch
            if kills > RESTARTS:
                raise
            log.warning("%s; going on from epoch %d", error.thing, run.epoch)
        run.restart()
    return run.trained


class _Run:
    """A training as its script sees it. What it has heard up to a checkpoint lies beside the checkpoint."""

    def __init__(self, folder: Path, key: str, log: logging.Logger) -> None:
        self.folder, self.key, self.log = folder, key, log
        self.trained: TrainedFold | None = None
        self.restart()

    def restart(self) -> None:
        """Read what is on disk; of another training, it is thrown away."""
        state = self._read()
        self.epochs: list[dict[str, Any]] = list(state.get("epochs", []))
        self.resumed: list[int] = list(state.get("resumed", []))
        self.before_s: float = state.get("seconds", 0.0)
        self.began = time.monotonic()
        self.checkpoint = Path(state["checkpoint"]) if state.get("checkpoint") else None
        self.epoch: int = self.epochs[-1]["epoch"] if self.epochs else 0
        if finished := state.get("finished"):
            self.trained = TrainedFold.model_validate(finished)
        elif self.checkpoint:
            self.resumed.append(self.epoch)
            self.log.info("going on from the checkpoint of epoch %d", self.epoch)

    @property
    def seconds(self) -> float:
        """So far."""
        return round(self.before_s + time.monotonic() - self.began, 3)

    def hear(self, event: Event) -> None:
        """Act on one event of the worker."""
        match event["event"]:
            case "waiting":
                self.log.info("waiting for %s", event["for"])
            case "started":
                self.log.info(
                    "training on %s: %s pictures, %s parameters, %s epochs of %s steps", event["device"],
                    event["train_images"], event["parameters"], event["epochs"], event["steps_per_epoch"],
                )  # fmt: skip
            case "epoch":
                self.epochs.append({"epoch": event["epoch"], "step": event["step"], **event["metrics"]})
                shown = "  ".join(f"{name} {value:.4g}" for name, value in event["metrics"].items())
                self.log.info("epoch %s: %s", event["epoch"], shown)
            case "checkpoint":
                self._keep(Path(event["path"]))
            case "finished":
                files = {name: Path(path) for name, path in event["files"].items() if Path(path).is_file()}
                self.trained = TrainedFold(
                    weights=Path(event["weights"]), epochs=tuple(self.epochs), review=event["review"], files=files,
                    seconds=self.seconds, resumed=tuple(self.resumed),
                )  # fmt: skip
                self._write(finished=self.trained.model_dump(mode="json"))
                shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)

    def _keep(self, path: Path) -> None:
        older, self.checkpoint, self.epoch = self.checkpoint, path, self.epochs[-1]["epoch"]
        self._write(checkpoint=str(path))
        if older and older != path:
            older.unlink(missing_ok=True)

    def _write(self, **more: Any) -> None:
        state = {"key": self.key, "epochs": self.epochs, "resumed": self.resumed, "seconds": self.seconds, **more}
        write_json(self.folder / _STATE, state)

    def _read(self) -> dict[str, Any]:
        try:
            state = json.loads((self.folder / _STATE).read_text())
        except (OSError, ValueError):
            return {}
        if state.get("key") != self.key:
            self.log.info("%s holds another training: beginning anew", self.folder)
            shutil.rmtree(self.folder)
            self.folder.mkdir()
            return {}
        checkpoint = state.get("checkpoint")
        return state if state.get("finished") or (checkpoint and Path(checkpoint).is_file()) else {}


def _job(
    recipe: Recipe, data: Path, folder: Path, key: str, has_val: bool, checkpoint: Path | None, locks: Path | None
) -> Job:
    kind, settings = Kind.named("segmentation"), load_settings()
    state = settings.state_dir.resolve()
    devices = present(settings)
    return Job(
        kind=kind.name, run_key=key, folder=folder.resolve(), data=data.resolve(), has_val=has_val, seed=recipe.seed,
        options=kind.training.options(recipe, data), weights=_starting_weights(recipe, folder),
        resume_from=checkpoint.resolve() if checkpoint else None, state_dir=state, locks_dir=locks or state / "locks",
        devices=devices, on=wanted(recipe.device, devices), parent_pid=os.getpid(),
    )  # fmt: skip


def _starting_weights(recipe: Recipe, folder: Path) -> Path | None:
    """The weights that the recipe starts from, under a name that ends in .pt; None: from scratch."""
    if recipe.weights is None:
        return None
    installed = recipe.installed_weights()
    found = installed[0] if installed else weights_path(load_settings(), recipe.weights)
    if not found.is_file():
        raise ConfigError(
            f"recipe {recipe.name!r} starts from the weights {recipe.weights!r}, and they are not there",
            expected=f"a file at {found}", fix=f"put it there, or name another ({recipe.WEIGHTS_ADVICE})",
        )  # fmt: skip
    link = folder / "start.pt"
    link.unlink(missing_ok=True)
    link.symlink_to(found.resolve())
    return link
