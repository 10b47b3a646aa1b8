"""A training in MLflow: live, as well as it goes, and complete when it is finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from tasks.config import Line
from tasks.errors import NightscopeError
from tasks.kind import Kind, Recipe
from tasks.lake import Lake
from tasks.registry import ModelRecord, Registry, open_registry
from tasks.registry.models import ModelAbout
from tasks.registry.runs import EpochMetrics
from tasks.training.records import Trained

RETRY_AFTER_S = 120
PLATEAU, TROUBLE = "nightscope.plateau", "nightscope.trouble"
"""Tags of a run whose training stands still, or that broke: since when, and why."""


def run_name(recipe_name: str, run_key: str) -> str:
    """What people see in MLflow's list."""
    return f"{recipe_name}-{run_key[:8]}"


class LiveLog:
    """Shows a training in MLflow while it runs. A server that is down costs it nothing but the show."""

    def __init__(self, lake: Lake, line: Line, recipe: Recipe, run_key: str, progress: Callable[[str], None]) -> None:
        self._lake, self._line, self._recipe, self._run_key = lake, line, recipe, run_key
        self._progress = progress
        self._quiet_until = 0.0
        self._logged = 0

    def epochs(self, history: Iterable[EpochMetrics]) -> None:
        """Log epochs that a checkpoint holds: what is not saved may be trained again, and would show twice."""
        new = [entry for entry in history if entry.epoch > self._logged]
        if not new or time.monotonic() < self._quiet_until:
            return
        try:
            registry, run = self._run("training")
            registry.runs.log_epochs(run, new)
        except NightscopeError as error:
            self._quiet_until = time.monotonic() + RETRY_AFTER_S
            self._progress(f"MLflow does not show this training for now ({error}); it is logged when it is finished")
        else:
            self._logged = new[-1].epoch

    def note(self, **tags: str) -> None:
        """Set tags of the run, if MLflow answers: what somebody who looks at it now must know."""
        try:
            self._run("training", tags)
        except NightscopeError as error:
            self._progress(f"MLflow does not hear of it ({error})")

    def failed(self, why: str = "") -> None:
        """Mark the run as failed, if MLflow answers."""
        try:
            registry, run = self._run("failed", {TROUBLE: why} if why else {})
            registry.runs.finish(run, failed=True)
        except NightscopeError as error:
            self._progress(f"MLflow does not hear that this training failed ({error})")

    def _run(self, state: str, more: Mapping[str, str] | None = None) -> tuple[Registry, str]:
        registry = open_registry(self._lake.settings)
        name, tags = run_name(self._recipe.name, self._run_key), {"nightscope.state": state, **(more or {})}
        return registry, registry.runs.open(self._line.line, self._run_key, name=name, tags=tags)


def publish(lake: Lake, line: Line, kind: Kind, recipe: Recipe, trained: Trained) -> ModelRecord:
    """Log a finished training in full and register its model. The same again changes nothing.

    Raises:
        ServiceUnavailable: MLflow did not answer. The training is not lost: call again.
    """
    registry = open_registry(lake.settings)
    run = _log(registry, lake, trained, recipe)
    about = ModelAbout(
        line=line.line,
        kind=line.kind,
        run_key=trained.run_key,
        dataset_version=trained.dataset_version,
        weights_oid=trained.weights_oid,
        classes=tuple(line.classes),
        imgsz=int(trained.setup.get("imgsz", recipe.input_px)),
        predict=recipe.predicting,
    )
    weights = lake.blobs.fetch(trained.weights_oid)
    record = registry.register(about, mlflow_run=run, weights=weights, served=kind.served)
    registry.runs.finish(run)
    return record


def _log(registry: Registry, lake: Lake, trained: Trained, recipe: Recipe) -> str:
    runs = registry.runs
    tags = {
        "nightscope.state": "trained",
        "nightscope.line": trained.line,
        "nightscope.dataset_version": trained.dataset_version,
        "nightscope.code_version": trained.code_version,
        "nightscope.weights_oid": trained.weights_oid,
        "nightscope.hardware": trained.hardware,
        "nightscope.libraries": trained.libraries,
        "nightscope.nondeterministic": list(trained.nondeterministic),
        "mlflow.source.git.commit": f"{trained.git_commit or 'unknown'}{'-dirty' if trained.git_dirty else ''}",
    }
    run = runs.open(trained.line, trained.run_key, name=run_name(recipe.name, trained.run_key), tags=tags)
    runs.log_params(run, _params(trained))
    runs.log_epochs(run, trained.history)
    last = trained.history[-1] if trained.history else EpochMetrics(epoch=1, at_ms=0, metrics={})
    summary = {**{f"final/{name}": value for name, value in trained.review.items()}, "seconds": trained.seconds}
    runs.log_epochs(run, [last.model_copy(update={"metrics": summary})])
    uri = f"s3://{lake.store.bucket}/datasets/{trained.line}/{trained.dataset_version}/manifest.parquet"
    runs.log_dataset(run, trained.line, trained.dataset_version, uri)
    paths = lake.blobs.fetch_many(trained.files.values())
    runs.log_files(run, {name: paths[oid] for name, oid in trained.files.items()})
    return run


_SHOWN_ELSEWHERE = {"arguments", "predict", "name", "description", "kind", "seed", "device"}


def _params(trained: Trained) -> dict[str, object]:
    recipe = trained.recipe
    params = {f"train.{name}": value for name, value in recipe["arguments"].items()}
    params |= {f"predict.{name}": value for name, value in recipe.get("predict", {}).items()}
    params |= {name: value for name, value in recipe.items() if name not in _SHOWN_ELSEWHERE}
    params |= {f"setup.{name}": value for name, value in trained.setup.items()}
    return params | {
        "recipe": recipe["name"],
        "seed": trained.seed,
        "epochs": trained.epochs,
        "steps": trained.steps,
        "dataset_version": trained.dataset_version,
        "code_version": trained.code_version,
    }
