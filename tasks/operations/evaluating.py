"""Measure a registered model on a test split, or train one and measure it: no gates, no verdict, nobody promoted."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from tasks.kinds import kind_of
from tasks.promotion.in_charge import find_model
from tasks.schemas import Frozen, Oid, now
from tasks.session import Session
from tasks.steps.audit import require_apart, require_audit
from tasks.steps.predictors import reference

log = logging.getLogger(__name__)


class EvaluatedModel(Frozen):
    """What a model measured on a test split, by itself."""

    line: str
    kind: str
    model_version: str
    dataset_version: Oid
    images: int
    recordings: int
    clusters: int
    """Donors, else recordings: what the intervals are drawn from."""
    device: str
    metrics: dict[str, Any]
    intervals: dict[str, Any]
    """In the shape of `metrics`: {low, high, confidence} each."""
    evaluation_oid: Oid
    report_html: str = Field(exclude=True, repr=False)
    """Stands in no blob: it shows pictures, and an erasure finds those of verdicts alone."""


class TrainedModel(Frozen):
    """A training, and what its model measured."""

    run_key: str
    mlflow_run: str
    epochs: int
    steps: int
    seconds: float
    evaluation: EvaluatedModel


def evaluate_model(
    session: Session,
    name: str,
    version: str | None = None,
    dataset_version: str | None = None,
    changes: Mapping[str, Any] | None = None,
) -> EvaluatedModel:
    """Measure a version of a line's model on the test split of a dataset version, and write the report.

    Args:
        session: Whose lake and registry.
        name: The line.
        version: Of its model; default the champion.
        dataset_version: Whose test split; default the newest that a night froze.
        changes: To the line: `evaluation.*` counts here.

    Raises:
        NotFound: No champion, no such version, or no dataset version yet.
        DataError: The dataset version was made for an experiment.
        LeakageError: Something of the test split stands in what the model learned from.
        InsufficientData: There is no test split.
    """
    from tasks.datasets.experiments import starting_version
    from tasks.evaluation.evaluate import evaluate
    from tasks.evaluation.report import Judged, Link, render_stored
    from tasks.training.devices import compute_slot

    lake, line = session.lake, session.line(name, changes)
    record, manifest = find_model(session, name, version), starting_version(lake, line, dataset_version)
    require_audit(lake, manifest)
    require_apart(lake, name, manifest.version, record.dataset_version)
    kind, model = kind_of(line.kind), reference(record)
    with compute_slot(session.settings, lambda what: log.info(f"waiting for {what}")):
        oid, found = evaluate(lake, line, manifest.version, kind=kind, challenger=model, champion=None)
    why = f"Model version {record.version} by itself: no gate was asked, and nobody was put in charge."
    links = [Link("MLflow run", record.mlflow_run)]
    report = render_stored(lake, line, kind, found, Judged(None, (why,), (), now()), links=links)
    return EvaluatedModel(
        line=name,
        kind=kind.name,
        model_version=record.version,
        dataset_version=manifest.version,
        images=found.images,
        recordings=len(found.recordings),
        clusters=len(found.clusters),
        device=found.device,
        metrics=found.metrics,
        intervals=found.challenger.intervals,
        evaluation_oid=oid,
        report_html=report,
    )


def train_model(session: Session, name: str, changes: Mapping[str, Any] | None = None) -> TrainedModel:
    """Freeze what the labels say now, train on it, register the challenger and measure it; as a night, up to its gates.

    The same labels, recipe, seed and code again return the training that is finished.

    Args:
        session: Whose lake and registry.
        name: The line.
        changes: To the line, for this training.

    Raises:
        ConfigError: A value that cannot work.
        InsufficientData: Too few labels or groups.
    """
    from tasks import steps

    steps.check_request(session, name, changes or {})
    validation = steps.validate_labels(session, name, changes)
    frozen = steps.freeze_dataset(session, name, changes, validation.validation_oid, force=True)
    training = steps.train_challenger(session, name, changes, frozen.dataset_version)
    return TrainedModel(
        run_key=training.run_key,
        mlflow_run=training.mlflow_run,
        epochs=training.epochs,
        steps=training.steps,
        seconds=training.seconds,
        evaluation=evaluate_model(session, name, training.model_version, frozen.dataset_version, changes),
    )
