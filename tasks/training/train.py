"""Train a model: the challenger of tonight.

    a key for this training ─▶ finished before? ─▶ that is the answer
                                    │ no
            worker (subprocess) ◀── checkpoint, if a killed training left one
                 │ events: epochs, checkpoints ─▶ lake; MLflow, live
                 ▼
            weights, plots ─▶ lake: trained.json ─▶ MLflow: run, model, version ─▶ lake: result.json

Killed anywhere and called again, it goes on where it was and ends with the same result.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from tasks.config import Line
from tasks.errors import DataError, SignatureError, StepFailed
from tasks.kind import Event, Job, Kind, Recipe
from tasks.lake import Lake
from tasks.lake.locks import lake_lock
from tasks.provenance import code_version, git_commit, git_dirty, library_versions, lock_sha256
from tasks.registry import open_registry
from tasks.registry.runs import EpochMetrics
from tasks.schemas import Oid, digest
from tasks.stack.devices import present
from tasks.training import supervise
from tasks.training.devices import wanted
from tasks.training.event_files import folder_of
from tasks.training.health import WHAT_TO_TRY, Plateau, plateau_of
from tasks.training.identity import run_key, run_key_of
from tasks.training.publish import PLATEAU, LiveLog, publish, run_name
from tasks.training.records import (
    Checkpoint,
    Origin,
    Trained,
    Training,
    WeightReuse,
    checkpoint_key,
    local_copy,
    read,
    read_or_again,
    result_key,
    reuse_key,
    trained_key,
    version_key,
    vouched,
    write,
)
from tasks.training.starting import denoisers_weights, starting_weights, teachers_weights

Progress = Callable[[str], None]
Watch = Callable[[Sequence[EpochMetrics]], None]
"""Looks at all epochs so far after each one, and may raise `StopTraining`."""

RESTARTS = 3
"""How often in a row a worker that a signal ended is started again without having saved another epoch."""


class StopTraining(Exception):
    """Raised by who watches a training that is not worth going on with: it ends, and its checkpoint goes."""


def train_challenger(
    lake: Lake, line: Line, kind: Kind, dataset_version: str, data: Path, has_val: bool, *, progress: Progress = print
) -> Training:
    """Train the line's recipe on a dataset version, log it in MLflow and register the model as challenger.

    Args:
        lake: Where checkpoints and results go.
        line: With the changes of this run.
        kind: Of the line.
        dataset_version: What is trained on; part of the training's identity.
        data: The same, materialised by the kind.
        has_val: Whether it has a validation split. Without one the last epoch's weights are taken.
        progress: Hears one line of text every few seconds.

    Raises:
        ConfigError: The recipe is wrong, or the weights it starts from are not there.
        StepFailed: The training failed.
        StepKilled: It was killed again and again; worth another try.
        ServiceUnavailable: MLflow did not answer when all was done; call again, nothing is trained twice.
    """
    recipe = kind.recipes.load_recipe(line.recipe)
    key = run_key(lake, line, dataset_version, kind)
    with lake_lock(lake.settings, f"train-{key[:16]}"):
        finished = _finished(lake, key, progress)
        if finished is not None and _still_registered(lake, line, finished, progress):
            progress(f"training {key[:12]} is finished already: model version {finished.model_version}")
            return finished
        trained = _trained(lake, key, progress) or _taken_over(lake, line, recipe, key, dataset_version, progress)
        if trained is None:
            live = LiveLog(lake, line, recipe, key, progress)
            trained = _train(lake, line, kind, recipe, key, dataset_version, data, has_val, live, progress)
            write(
                lake, reuse_key(run_key_of(lake, line.line, dataset_version, recipe.plain())), WeightReuse(run_key=key)
            )
        progress(f"logging training {key[:12]} in MLflow")
        record = publish(lake, line, kind, recipe, trained)
        result = Training(
            run_key=key,
            weights_oid=trained.weights_oid,
            steps=trained.steps,
            epochs=trained.epochs,
            resumed_from_epoch=trained.resumed_from_epoch,
            mlflow_run=record.mlflow_run,
            model_version=record.version,
            seconds=trained.seconds,
        )
        write(lake, version_key(line.line, record.version), Origin(run_key=key))
        write(lake, result_key(key), result)
        progress(f"model version {record.version} of line {line.line} is the challenger")
        return result


def _finished(lake: Lake, key: str, progress: Progress) -> Training | None:
    """What is on record of a finished training; whether its weights are ours is asked of its version's record."""
    try:
        return read(lake, result_key(key), Training, unsigned=True)
    except SignatureError as error:
        progress(f"left out of account, and made again: {error}")
        return None


def _trained(lake: Lake, key: str, progress: Progress) -> Trained | None:
    return read_or_again(lake, trained_key(key), Trained, progress, again="and trained again")


def _still_registered(lake: Lake, line: Line, finished: Training, progress: Progress) -> bool:
    """Whether MLflow holds the version of a finished training still: people delete versions, and whole models.

    And whether the lake's own records say that its weights are ours.
    """
    try:
        registered = open_registry(lake.settings).version(line.line, finished.model_version)
        known = vouched(lake, registered).about
        if registered.about.run_key == finished.run_key and (known.run_key, known.weights_oid) == (
            finished.run_key,
            finished.weights_oid,
        ):
            return True
        found = f"training {registered.about.run_key[:12]}"
    except DataError as error:
        found = str(error)
    progress(f"model version {finished.model_version} is not in MLflow as it was registered ({found}): again")
    return False


def _taken_over(lake: Lake, line: Line, recipe: Recipe, key: str, version: str, progress: Progress) -> Trained | None:
    """A finished training of this line that differs in how its model looks at images, and in nothing that it learned.

    Its weights become this run's: trained again on a GPU they would be others, and the options be judged with them.
    """
    place = reuse_key(run_key_of(lake, line.line, version, recipe.plain()))
    reused = read_or_again(lake, place, WeightReuse, progress, again="and trained anew")
    trained = _trained(lake, reused.run_key, progress) if reused else None
    if reused is None or trained is None:
        return None
    progress(f"taking over the weights of training {reused.run_key[:12]}: only the way of predicting is another")
    trained = trained.model_copy(update={"run_key": key, "recipe": recipe.model_dump(mode="json")})
    write(lake, trained_key(key), trained)
    return trained


def train_unregistered(
    lake: Lake,
    line: Line,
    kind: Kind,
    dataset_version: str,
    data: Path,
    has_val: bool,
    *,
    progress: Progress = print,
    watch: Watch | None = None,
) -> Trained:
    """Train like `train_challenger`, but tell MLflow nothing: for experiments, whose models nobody may promote.

    Finished = returned, killed = resumed, here too. Arguments and errors as there, and:

    Args:
        watch: Sees the epochs while it trains. A finished training is returned without asking it.

    Raises:
        StopTraining: `watch` ended it.
    """
    recipe = kind.recipes.load_recipe(line.recipe)
    key = run_key(lake, line, dataset_version, kind)
    with lake_lock(lake.settings, f"train-{key[:16]}"):
        trained = _trained(lake, key, progress)
        if trained is None:
            trained = _train(lake, line, kind, recipe, key, dataset_version, data, has_val, None, progress, watch)
        return trained


def train_again(
    lake: Lake, line: Line, kind: Kind, trained: Trained, data: Path, has_val: bool, *, progress: Progress = print
) -> Trained:
    """Repeat a training on record from nothing, as it was asked for then. Leaves no record of its own.

    Args:
        lake: Where its checkpoints lie meanwhile, under a key of its own.
        line: Whose training it was.
        kind: Of the line.
        trained: The one on record; only read.
        data: The dataset version that it learned from, materialised.
        has_val: Whether that has a validation split.
        progress: As for `train_challenger`.

    Returns:
        The repetition; its weights are a blob that nothing else refers to.

    Raises:
        ConfigError: The weights that it started from are not there any more.
        StepFailed, StepKilled: As for `train_challenger`.
    """
    recipe = kind.recipes.recorded(trained.recipe)
    key = digest("repetition", trained.run_key)
    with lake_lock(lake.settings, f"train-{key[:16]}"):
        try:
            lake.store.remove(checkpoint_key(key))  # of a repetition that was killed: ours begins with nothing
            return _train(lake, line, kind, recipe, key, trained.dataset_version, data, has_val, None, progress)
        finally:
            lake.store.remove(trained_key(key))
            lake.store.remove(checkpoint_key(key))


def _train(
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
    """Run the worker until it is finished, however often it is killed on the way."""
    began = time.monotonic()
    folder = (lake.settings.work_dir / "training" / key[:16]).resolve()
    night = _TrainingRun(lake, key, live, progress, kind.epoch_score)
    kills, reached = 0, 0
    while night.finished is None:
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


class _TrainingRun:
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
    lake: Lake, line: Line, recipe: Recipe, key: str, version: str, night: _TrainingRun, folder: Path, seconds: float
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
