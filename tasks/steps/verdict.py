"""Judge an evaluation: from its numbers to a verdict with its report."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict

from tasks.config import Line
from tasks.errors import DataError, NotFound, TransportError
from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.lake.object_store import JSON
from tasks.promotion.verdict_rows import signed, verdict_named
from tasks.schemas import Decision, Frozen, Oid, Verdict, digest, now
from tasks.session import Session
from tasks.steps.change_detection import run_fingerprint

if TYPE_CHECKING:
    from tasks.evaluation.evaluation import Evaluation
    from tasks.evaluation.report import Judged, Link, Sheet
    from tasks.kind import Kind
    from tasks.training.records import Trained

log = logging.getLogger(__name__)

MOST_SHEETS = 4
"""Of a training's stages, in a report."""
JPEG = b"\xff\xd8\xff"


class RegisteredTraining(Frozen):
    """The training whose model is judged: the part of `train_challenger`'s result that a verdict needs."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    run_key: str
    mlflow_run: str | None
    model_version: str


class DecidedVerdict(Frozen):
    """A verdict that is recorded, and where its report is."""

    verdict_id: str
    verdict: Decision
    reasons: tuple[str, ...]
    report_oid: Oid | None
    report: str


def decide_verdict(
    session: Session, name: str, changes: Mapping[str, Any] | None, evaluation_oid: str, training: RegisteredTraining
) -> DecidedVerdict:
    """Put an evaluation through the line's gates, record the verdict with its report, and show both in MLflow.

    The verdict is recorded first: an MLflow that does not answer loses nothing, and the step's next try shows what is
    recorded already.

    Raises:
        DataError: The evaluation is of an experiment, or of another model than the training's.
        ServiceUnavailable: MLflow did not answer; the verdict is recorded.
    """
    from tasks.evaluation.evaluation import load_evaluation

    lake, line = session.lake, session.line(name, changes)
    verdict_id = digest(name, run_fingerprint(training.run_key, line), evaluation_oid)[:24]
    evaluation = load_evaluation(lake, evaluation_oid)
    try:
        verdict = verdict_named(lake, verdict_id)
    except NotFound:  # the usual case: this evaluation was not judged before
        verdict = _decide(session, line, verdict_id, evaluation_oid, evaluation, training)
        lake.tables.append("verdicts", [verdict], key="verdict_id")
    decided = _decided(lake, verdict)
    try:
        _show_in_mlflow(session, verdict, evaluation)
    except NotFound as error:  # a run that a person deleted for good: its verdict and report are the lake's
        log.warning(f"MLflow does not show this verdict: {error}")
    return decided


def _decide(
    session: Session,
    line: Line,
    verdict_id: str,
    evaluation_oid: str,
    evaluation: Evaluation,
    training: RegisteredTraining,
) -> Verdict:
    from tasks.datasets.experiments import refuse_experiment
    from tasks.evaluation.report import Judged
    from tasks.gates.decide import decide

    lake = session.lake
    refuse_experiment(lake.datasets.load(line.line, evaluation.dataset_version))
    judged_version = evaluation.challenger.model.model_version
    if training.model_version != judged_version:
        raise DataError(
            f"evaluation {evaluation_oid[:12]} is of model version {judged_version}",
            expected=f"one of version {training.model_version}, whose training this is",
            fix="evaluate that version, or name this one's training",
        )
    outcome = decide(line, evaluation, kind_of(line.kind))
    judged = Judged(outcome.decision, outcome.reasons, outcome.gates, now())
    line_oid = lake.blobs.put_bytes(line.model_dump_json(by_alias=True).encode(), JSON)  # classes keep their order
    verdict = Verdict(
        verdict_id=verdict_id,
        line=line.line,
        run_key=training.run_key,
        verdict=judged.decision,
        reasons=judged.reasons,
        gates=judged.gates,
        metrics=evaluation.metrics,
        champion_metrics=evaluation.champion_metrics,
        intervals=evaluation.intervals,
        dataset_version=evaluation.dataset_version,
        model_version=evaluation.challenger.model.model_version,
        champion_version=evaluation.champion.model.model_version if evaluation.champion else None,
        mlflow_run=str(training.mlflow_run),
        evaluation_oid=evaluation_oid,
        report_oid=_report(session, line, evaluation, judged, training),
        line_oid=line_oid,
        at=judged.at,
    )
    return signed(lake.settings, verdict)


def _show_in_mlflow(session: Session, verdict: Verdict, evaluation: Evaluation) -> None:
    """Log the report, the numbers and the curves to the challenger's run; again is fine."""
    import tempfile
    from pathlib import Path

    from tasks.evaluation.artifacts import logged_metrics, write_artifacts
    from tasks.registry.runs import EpochMetrics

    lake, runs = session.lake, session.registry.runs
    with tempfile.TemporaryDirectory(prefix="nightscope-") as folder:
        report = lake.blobs.get_bytes(str(verdict.report_oid))
        runs.log_files(verdict.mlflow_run, write_artifacts(evaluation, report, Path(folder)))
    at_ms = int(verdict.at.timestamp() * 1000)  # the verdict's time, so that logging twice is logging once
    runs.log_epochs(verdict.mlflow_run, [EpochMetrics(epoch=1, at_ms=at_ms, metrics=logged_metrics(evaluation))])


def _report(session: Session, line: Line, evaluation: Evaluation, judged: Judged, training: RegisteredTraining) -> str:
    from tasks.evaluation.report import Link, store_report
    from tasks.training.records import Trained, read, trained_key

    lake, mlflow_run = session.lake, str(training.mlflow_run)
    about = lake.datasets.load(line.line, evaluation.dataset_version).about
    links = (
        [Link("Validation report", lake.blobs.uri(about["validation"]["report_oid"]))] if "validation" in about else []
    )
    links += _exploration(lake, line.line, evaluation.dataset_version)
    links += _leak_audit(lake, about.get("leak_check") or {})
    trained = read(lake, trained_key(training.run_key), Trained, unsigned=True)  # to show: nothing of it is loaded
    links += _training(kind_of(line.kind), trained)
    links += [Link("MLflow run", mlflow_run, _run_url(session, mlflow_run))]
    sheets = _sheets(lake, trained)
    return store_report(lake, line, kind_of(line.kind), evaluation, judged, links=links, sheets=sheets)


def _exploration(lake: Lake, line: str, version: str) -> list[Link]:
    """Where the page is that shows the dataset."""
    from tasks.evaluation.report import Link
    from tasks.exploration.explore import explored

    found = explored(lake, line, version)
    return [Link("Exploration report", lake.blobs.uri(found.report_oid))] if found else []


def _training(kind: Kind, trained: Trained | None) -> list[Link]:
    """How long the training was, and whether it stood still at its end."""
    from tasks.evaluation.report import Link
    from tasks.training.health import plateau_of

    if trained is None:
        return []
    plateau = plateau_of(trained.history, kind.epoch_score, trained.epochs)
    text = f"{trained.epochs:,} epochs, {trained.steps:,} steps, {trained.seconds:,.0f} s"
    return [Link("Training", f"{text}; {plateau}" if plateau else text)]


def _sheets(lake: Lake, trained: Trained | None) -> list[Sheet]:
    """The training's contact sheets (of many stages the first ones and the last), and what the model predicted then."""
    from tasks.evaluation.report import Sheet
    from tasks.training.contact_sheet import MOST_BYTES, NAME, PREDICTED

    files = trained.files if trained else {}
    names = sorted(name for name in files if name.startswith(f"training/{NAME}") and name.endswith(".jpg"))
    shown = names if len(names) <= MOST_SHEETS else [*names[: MOST_SHEETS - 1], names[-1]]
    sheets = []
    for name in [*shown, *(name for name in files if name == PREDICTED)]:
        number = name.removesuffix(".jpg").rpartition("_stage_")[2]
        jpeg = lake.blobs.get_bytes(files[name]) if lake.blobs.exists(files[name]) else b""  # a donor's, erased
        if len(jpeg) <= MOST_BYTES and jpeg.startswith(JPEG):
            stage = f"Stage {int(number)} of {len(names)}" if number.isdecimal() else ""
            sheets.append(Sheet(stage, jpeg, predicted=name == PREDICTED))
    return sheets


def _leak_audit(lake: Lake, summary: Mapping[str, Any]) -> list[Link]:
    """What the leak audit of the dataset found, in a sentence, and where its own report is."""
    from tasks.evaluation.report import Link

    if not summary:
        return []
    parts = [f"{'passed' if summary.get('passed', True) else 'not passed'}, {summary['frames']:,} frames"]
    parts += [f"of {summary['recordings']:,} recordings"] if "recordings" in summary else []
    parts += [f"compared across splits, {summary['looked_at']:,} of them looked at closely"]
    found = sum((summary.get("findings") or {}).values())
    parts += [f"; {found:,} leaks found"] if found else []
    cleared = summary.get("cleared_by_people") or []
    by = ", ".join(sorted({clear["by"] for clear in cleared}))
    parts += [f"; {len(cleared):,} pair{'' if len(cleared) == 1 else 's'} cleared by {by}"] if cleared else []
    blind = summary.get("not_compared") or 0
    parts += [f"; {blind:,} recordings could not be compared by how they move"] if blind else []
    parts += [f"; {lake.blobs.uri(summary['report_oid'])}"] if summary.get("report_oid") else []
    return [Link("Leak audit", " ".join(parts).replace(" ;", ";"))]


def _run_url(session: Session, mlflow_run: str) -> str | None:
    """The run's page; None while MLflow does not answer, or has lost it: a verdict does not wait for a link."""
    try:
        return session.registry.runs.url_of(mlflow_run)
    except (TransportError, DataError) as error:
        log.warning(f"no link to MLflow run {mlflow_run} in the report: {error}")
        return None


def _decided(lake: Lake, verdict: Verdict) -> DecidedVerdict:
    where = f"s3://{lake.store.bucket}/{lake.blobs.key(str(verdict.report_oid))}"
    log.info(f"verdict: {verdict.verdict}; report: {where}")
    for reason in verdict.reasons:
        log.info(f"  {reason}")
    return DecidedVerdict(
        verdict_id=verdict.verdict_id,
        verdict=verdict.verdict,
        reasons=verdict.reasons,
        report_oid=verdict.report_oid,
        report=where,
    )
