"""Look at a model from every side that costs no training, and at more data where that is asked for."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tasks.config import Line
from tasks.experiments.diagnosis.advice import advise
from tasks.experiments.diagnosis.findings import DiagnosisReport, ErrorCost, LearningCurve, Measure
from tasks.experiments.diagnosis.labels import label_noise
from tasks.experiments.diagnosis.learning_curve import measure_curve, trainings
from tasks.experiments.diagnosis.slices import slices_of
from tasks.experiments.diagnosis.training import health_of
from tasks.experiments.experiment_runs import evaluate, file_result, filed_result
from tasks.kind import Kind, ModelRef, Row
from tasks.kinds import kind_of
from tasks.lake import Lake, Manifest
from tasks.metrics.threshold import ThresholdGain
from tasks.promotion.in_charge import find_model
from tasks.schemas import Oid, digest
from tasks.session import Session
from tasks.steps.audit import require_apart, require_audit
from tasks.steps.predictors import reference

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.evaluation.evaluation import Evaluation
    from tasks.registry.models import ModelRecord

log = logging.getLogger(__name__)

SEEDS = 3


def diagnose(
    session: Session,
    name: str,
    version: str | None = None,
    *,
    dataset_version: str | None = None,
    learning_curve: bool = False,
    seeds: int = SEEDS,
) -> DiagnosisReport:
    """Say where a model fails, and what to do next.

    The model predicts the test split (once: the same again is found), and everything else follows from its
    predictions, its labels and the records of its training.

    Args:
        session: Whose lake and registry.
        name: The line.
        version: Of its model; default the champion.
        dataset_version: Whose test split; default the newest that a night froze.
        learning_curve: Train on shares of the groups, too.
        seeds: Trainings for each share.

    Raises:
        NotFound: No champion, no such version, or no dataset version yet.
        DataError: The dataset version was made for an experiment.
        LeakageError: Something of the test split stands in what the model learned from.
        InsufficientData: There is no test split; or too few groups for a learning curve.
    """
    from tasks.datasets.experiments import require_classes, starting_version
    from tasks.evaluation.unlearned import unlearned
    from tasks.experiments.diagnosis.report import render_report

    began = time.monotonic()
    lake, line = session.lake, session.line(name)
    kind = kind_of(line.kind)
    record, base = find_model(session, name, version), starting_version(lake, line, dataset_version)
    require_classes(line, base)
    require_audit(lake, base)
    require_apart(lake, name, base.version, record.dataset_version)
    oid, evaluation = _evaluated(lake, line, base, reference(record))
    curve = measure_curve(lake, line, base, range(seeds)) if learning_curve else None
    found = _findings(lake, line, kind, base, (oid, evaluation), record, curve, unlearned(evaluation, kind))
    found = found.model_copy(update={"advice": advise(found), "seconds": round(time.monotonic() - began, 3)})
    for advice in found.advice:
        log.info(advice.sentence)
    return found.model_copy(update={"report_html": render_report(lake, line, found)})


def _findings(
    lake: Lake, line: Line, kind: Kind, base: Manifest, evaluated: tuple[Oid, Evaluation], record: ModelRecord,
    curve: LearningCurve | None, unlearned: Sequence[str],
) -> DiagnosisReport:  # fmt: skip
    from tasks.evaluation.evaluate import frames_of_test_split, stored_predictions

    oid, evaluation = evaluated
    frames = frames_of_test_split(lake, line, base.version)
    predictions = stored_predictions(lake, evaluation.challenger.predictions_oid)
    judgement = kind.metrics.judge(predictions, frames, line)
    not_run = (
        ()
        if curve
        else (f"learning curve: it trains up to {trainings(SEEDS)} times; ask for it with --learning-curve",)
    )
    return DiagnosisReport(
        line=line.line,
        kind=kind.name,
        model_version=record.version,
        dataset_version=base.version,
        images=evaluation.images,
        main=_main(kind, evaluation),
        advice=(),
        errors=_errors(evaluation),
        slices=slices_of(kind.metrics.METRICS, evaluation.metrics, judgement),
        threshold=_threshold(lake, line, kind, evaluation, predictions, frames),
        label_noise=label_noise(lake, line, kind, base, evaluation, curve),
        training=health_of(lake, kind, record.about.run_key),
        learning_curve=curve,
        unlearned=tuple(unlearned),
        not_run=not_run,
        evaluation_oid=oid,
        seconds=0.0,
    )


def _evaluated(lake: Lake, line: Line, base: Manifest, model: ModelRef) -> tuple[Oid, Evaluation]:
    """The model's evaluation on the version's test split: made now, or found where nothing of it has changed."""
    from tasks.evaluation.evaluation import load_evaluation
    from tasks.provenance import code_of

    key = digest(
        model.model_dump(mode="json", exclude={"mlflow_run"}), base.version, line.evaluation.model_dump(),
        list(line.classes), code_of("training", line.kind), code_of("evaluation", line.kind),
    )  # fmt: skip
    where = f"experiments/{line.line}/diagnoses/{key}.json"
    filed = filed_result(lake, where)
    if filed is not None:
        return filed["evaluation_oid"], load_evaluation(lake, filed["evaluation_oid"])
    oid, evaluation = evaluate(lake, line, base.version, model)
    file_result(lake, where, {"line": line.line, "dataset_version": base.version, "evaluation_oid": oid})
    return oid, evaluation


def _main(kind: Kind, evaluation: Evaluation) -> Measure:
    metric = kind.metrics.METRICS[0]
    own = evaluation.challenger.intervals.get(metric.name) or {}
    return Measure(
        metric=metric.name, title=metric.title, value=evaluation.value(metric.name), low=own.get("low"),
        high=own.get("high"), digits=metric.digits, groups=len(evaluation.clusters), noun=evaluation.cluster_noun,
        confidence=evaluation.confidence,
    )  # fmt: skip


def _errors(evaluation: Evaluation) -> tuple[ErrorCost, ...]:
    """TIDE's kinds, the dearest first; of whole pictures the pairs of classes that are mixed up."""
    if evaluation.challenger.breakdown:
        found = [
            ErrorCost(
                name=kind.name, title=kind.title, meaning=kind.meaning, advice=kind.advice, count=kind.count,
                cost=kind.cost,
            )
            for kind in evaluation.challenger.breakdown
        ]  # fmt: skip
        return tuple(sorted(found, key=lambda error: (-error.cost, -error.count)))
    return _mixed_up(evaluation)


def _mixed_up(evaluation: Evaluation) -> tuple[ErrorCost, ...]:
    """Each pair of classes that pictures are mixed up between: the cost is the balanced accuracy that it takes."""
    table = evaluation.challenger.confusion
    if table is None or table.rows_are != "labelled" or table.nothing:
        return ()
    found = []
    for r, (name, counts) in enumerate(zip(table.rows, table.counts, strict=True)):
        for c, (other, count) in enumerate(zip(table.columns, counts, strict=True)):
            if r != c and count:
                found.append(
                    ErrorCost(
                        name=f"{name}>{other}",
                        title=f"{name} taken for {other}",
                        meaning=f"labelled {name}, predicted {other}",
                        count=count,
                        advice=f"Look at these pictures; label more {name}, or say in the labelling guide what tells "
                        f"it from {other}.",
                        cost=round(count / sum(counts) / len(table.rows), 12),
                    )
                )
    return tuple(sorted(found, key=lambda error: (-error.cost, -error.count, error.name)))


def _threshold(
    lake: Lake, line: Line, kind: Kind, evaluation: Evaluation, predictions: pa.Table, frames: Sequence[Row]
) -> ThresholdGain | None:
    from tasks.metrics.threshold import threshold_gain

    claims = kind.diagnosis.claims(predictions, frames, line) if kind.diagnosis is not None else None
    if kind.diagnosis is None or claims is None:
        return None
    place = {name: i for i, name in enumerate(evaluation.clusters)}
    return threshold_gain(
        claims, np.array([place[row["group"]] for row in frames], dtype=np.int64),
        kind.diagnosis.shown_from(lake, evaluation.challenger.model, line),
        confidence=line.evaluation.confidence, resamples=line.evaluation.resamples, seed=line.evaluation.seed,
    )  # fmt: skip
