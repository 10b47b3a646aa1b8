"""Train a challenger on a dataset version."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tasks.config import Line
from tasks.kind import Kind, Recipe
from tasks.kinds import kind_of
from tasks.lake import Lake, Manifest
from tasks.lake.locks import lake_lock
from tasks.session import Session
from tasks.steps.audit import require_audit
from tasks.steps.verdict import RegisteredTraining

if TYPE_CHECKING:
    from tasks.training.records import Training

T = TypeVar("T")

log = logging.getLogger(__name__)


def train_challenger(session: Session, name: str, changes: Mapping[str, Any] | None, dataset_version: str) -> Training:
    """Train on a dataset version and register the challenger. Finished = returned, killed = resumed.

    Raises:
        DataError: The dataset version was made for an experiment.
        LeakageError: Something of one of its splits also stands in another.
        LockLost: The lock of the training was lost; the next try goes on from its checkpoint.
    """
    from tasks.datasets.experiments import refuse_experiment
    from tasks.training.train import train_challenger as train

    lake, line = session.lake, session.line(name, changes)
    manifest = lake.datasets.load(name, dataset_version)
    refuse_experiment(manifest)
    require_audit(lake, manifest)
    kind = kind_of(line.kind)
    with _turn(lake, name):
        return materialise_and_train(
            lake,
            line,
            kind,
            manifest,
            lambda data, has_val: train(lake, line, kind, dataset_version, data, has_val, progress=log.info),
        )


def _turn(lake: Lake, name: str) -> AbstractContextManager[object]:
    """Where there are many machines, a line's challengers are trained one after the other.

    On one machine its devices alone limit what is trained side by side, as Airflow's runs of a line follow each other.
    """
    if not lake.settings.locks.uri.get_secret_value():
        return nullcontext()
    return lake_lock(lake.settings, f"line-training-{name}")


def materialise_and_train(
    lake: Lake,
    line: Line,
    kind: Kind,
    manifest: Manifest,
    train: Callable[[Path, bool], T],
    recipe: Recipe | None = None,
) -> T:
    """Lay a dataset version out on disk as the trainer reads it, then train on it.

    Args:
        lake: Where its images and labels are.
        line: Whose classes count.
        kind: The line's.
        manifest: The dataset version.
        train: Called with where the layout starts, and whether the version has a validation split.
        recipe: What is trained, where it is not the line's.

    Returns:
        What `train` returns.
    """
    log.info(f"materialising dataset {manifest.version[:12]}: {manifest.rows.num_rows} frames")
    data = kind.layout.materialise(lake, line, manifest.version)
    data = kind.prepared(lake, data, recipe or kind.recipes.load_recipe(line.recipe))
    return train(data, bool(manifest.about["has_val"]))


def training_of(session: Session, name: str, model_version: str) -> RegisteredTraining:
    """Read from the registry what `decide_verdict` needs to know of a training."""
    record = session.registry.version(name, model_version)
    return RegisteredTraining(run_key=record.about.run_key, mlflow_run=record.mlflow_run, model_version=record.version)
