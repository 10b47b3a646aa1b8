"""A training's worker, run until it is finished: started again where it was killed, and what it left brought home."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from tasks.config import Line
from tasks.errors import StepFailed
from tasks.kind import Job, Kind, Recipe
from tasks.lake import Lake
from tasks.lake.fences import require_held
from tasks.provenance import code_version, git_commit, git_dirty, library_versions, lock_sha256
from tasks.registry.runs import EpochMetrics
from tasks.schemas import Oid
from tasks.stack.devices import present
from tasks.training import supervise
from tasks.training.devices import wanted
from tasks.training.event_files import folder_of
from tasks.training.heard import Progress, TrainingRun
from tasks.training.publish import LiveLog, run_name
from tasks.training.records import Checkpoint, Trained, checkpoint_key, local_copy, trained_key, write
from tasks.training.starting import denoisers_weights, starting_weights, teachers_weights

Watch = Callable[[Sequence[EpochMetrics]], None]
"""Looks at all epochs so far after each one, and may raise `StopTraining`."""

RESTARTS = 3
"""How often in a row a worker that a signal ended is started again without having saved another epoch."""


class StopTraining(Exception):
    """Raised by who watches a training that is not worth going on with: it ends, and its checkpoint goes."""


def run_worker(
    lake: Lake,
    line: Line,
    kind: Kind,
    recipe: Recipe,
    key: str,
    version: str,
    data: Path,
    has_val: bool,
    live: LiveLog | None,
    progress: Progress,
    watch: Watch | None = None,
) -> Trained:
    """Run the worker until it is finished, however often it is killed on the way.

    Args:
        lake: Where checkpoints and what was trained go.
        line, kind, recipe: What is trained.
        key: Of the training.
        version: Of the dataset.
        data: The same, materialised by the kind.
        has_val: Whether it has a validation split.
        live: Where it is shown meanwhile; None: nowhere, and no evidence will name its checkpoint.
        progress: Hears one line of text every few seconds.
        watch: Sees the epochs.

    Raises:
        StepFailed: The training failed.
        StepKilled: It was killed again and again.
        StopTraining: `watch` ended it.
        LockLost: The training's lock was lost; the worker was ended, and its checkpoint is the next holder's.
    """
    began = time.monotonic()
    folder = (lake.settings.work_dir / "training" / key[:16]).resolve()
    night = TrainingRun(lake, key, live, progress, kind.epoch_score)
    kills, reached = 0, 0
    while night.finished is None:
        require_held()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shown_in = folder_of(lake.settings.state_dir.resolve(), line.line) / run_name(recipe.name, key)
        job = _job(lake, kind, recipe, key, folder, data, has_val, night.resume(), shown_in)
        try:
            with closing(supervise.events(job, folder / "training.log")) as events:
                for event in events:
                    night.hear(event)
                    if watch and event["event"] == "epoch":
                        watch(night.history)
        except supervise.WorkerKilled as error:
            kills, reached = 1 if night.epoch > reached else kills + 1, night.epoch
            if kills > RESTARTS:
                night.failed()
                raise
            progress(f"{error.thing}; going on from epoch {night.epoch}")
        except StepFailed as error:
            night.failed(error.thing)
            raise
        except StopTraining:
            lake.store.remove(checkpoint_key(key))
            shutil.rmtree(folder, ignore_errors=True)
            raise
    trained = _keep(lake, line, recipe, key, version, night, folder, time.monotonic() - began)
    lake.store.remove(checkpoint_key(key))
    shutil.rmtree(folder, ignore_errors=True)
    return trained


def _job(
    lake: Lake, kind: Kind, recipe: Recipe, key: str, folder: Path, data: Path, has_val: bool,
    checkpoint: Checkpoint | None, shown_in: Path,
) -> Job:  # fmt: skip
    state = lake.settings.state_dir.resolve()
    devices = present(lake.settings)
    if denoiser := denoisers_weights(lake, recipe):
        lake.blobs.put_file(denoiser[0])  # a file of the weights' folder is no blob yet, and the evidence names it
    return Job(
        kind=kind.name,
        run_key=key,
        folder=folder,
        data=data.resolve(),
        has_val=has_val,
        options=kind.training.options(recipe, data),
        weights=_with_suffix(folder / "start.pt", starting_weights(lake, recipe)),
        teacher=_with_suffix(folder / "teacher.pt", teachers_weights(lake, recipe)),
        denoiser=_with_suffix(folder / "denoiser.safetensors", denoiser),
        seed=recipe.seed,
        resume_from=local_copy(lake, checkpoint.oid, folder / "resume.ckpt") if checkpoint else None,
        state_dir=state,
        locks_dir=state / "locks",
        devices=devices,
        on=wanted(recipe.device, devices),
        parent_pid=os.getpid(),
        shown_in=shown_in,
    )


def _with_suffix(link: Path, found: tuple[Path, Oid] | None) -> Path | None:
    """Weights under a name with a suffix, which a blob's has not."""
    if found is None:
        return None
    link.symlink_to(found[0].resolve())
    return link


def _keep(
    lake: Lake, line: Line, recipe: Recipe, key: str, version: str, night: TrainingRun, folder: Path, seconds: float
) -> Trained:
    """Bring what the worker left to the lake: blobs first, then the record that names them."""
    finished = night.finished or {}
    files = {name: Path(path) for name, path in finished["files"].items()}
    files["training/training.log"] = folder / "training.log"
    # A checkpoint's pictures may be gone: a donor was erased while the training waited to be gone on with.
    pictures = {name: oid for name, oid in night.files.items() if lake.blobs.exists(oid)}
    setup = {name: value for name, value in night.started.items() if name not in {"event", "hardware", "first_epoch"}}
    trained = Trained(
        run_key=key,
        line=line.line,
        dataset_version=version,
        recipe=recipe.model_dump(mode="json"),
        seed=recipe.seed,
        code_version=code_version(line.kind),
        git_commit=git_commit(),
        git_dirty=git_dirty(),
        lock_sha256=lock_sha256(),
        libraries=library_versions(),
        hardware=night.started.get("hardware", {}),
        setup=setup,
        classes=tuple(line.classes),
        weights_oid=lake.blobs.put_file(Path(finished["weights"])),
        checkpoint_oid=night.checkpoint if night.live else None,  # no evidence names an experiment's: gc may take it
        nondeterministic=night.nondeterministic,
        epochs=sum(each.epoch > 0 for each in night.history),  # one may be measured before the first
        steps=int(night.history[-1].metrics["step"]) if night.history else 0,
        resumed_from_epoch=night.resumed_from,
        history=tuple(night.history),
        review=finished["review"],
        files=pictures | {name: lake.blobs.put_file(path) for name, path in sorted(files.items()) if path.is_file()},
        seconds=round(seconds, 3),
    )
    write(lake, trained_key(key), trained)
    return trained
