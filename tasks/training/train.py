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

from pathlib import Path

from tasks.config import Line
from tasks.errors import DataError, SignatureError
from tasks.kind import Kind, Recipe
from tasks.lake import Lake
from tasks.lake.locks import lake_lock
from tasks.registry import open_registry
from tasks.schemas import digest
from tasks.training.heard import Progress
from tasks.training.identity import run_key, run_key_of
from tasks.training.publish import LiveLog, publish
from tasks.training.records import (
    Origin,
    Trained,
    Training,
    WeightReuse,
    checkpoint_key,
    read,
    read_or_again,
    result_key,
    reuse_key,
    trained_key,
    version_key,
    vouched,
    write,
)
from tasks.training.run_worker import Watch, run_worker


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
            trained = run_worker(lake, line, kind, recipe, key, dataset_version, data, has_val, live, progress)
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
            trained = run_worker(lake, line, kind, recipe, key, dataset_version, data, has_val, None, progress, watch)
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
            return run_worker(lake, line, kind, recipe, key, trained.dataset_version, data, has_val, None, progress)
        finally:
            lake.store.remove(trained_key(key))
            lake.store.remove(checkpoint_key(key))
