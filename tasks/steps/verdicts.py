"""Steps that judge: from an evaluation to a verdict with its report, and reading both again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasks.config import Line, Settings, load_settings
from tasks.errors import DataError, NotFound, SignatureError, TransportError
from tasks.lake import Lake, open_lake
from tasks.lake.signed import check, sign, verdict_statement
from tasks.schemas import Verdict, digest, now
from tasks.steps.news import judged_key, resolve_line

if TYPE_CHECKING:
    from tasks.evaluation.evaluation import Evaluation
    from tasks.evaluation.report import Judged, Link

JSON = "application/json"


def decide_verdict(
    name: str, changes: Mapping[str, Any] | None, evaluation_oid: str, training: Mapping[str, Any]
) -> dict[str, Any]:
    """Put an evaluation through the line's gates, record the verdict with its report, and show both in MLflow.

    The verdict is recorded first: an MLflow that does not answer loses nothing, and the step's next try shows what is
    recorded already.

    Returns:
        `verdict_id`, `verdict`, `reasons`, `report_oid`, `report`.

    Raises:
        DataError: The evaluation is of an experiment, or of another model than the training's.
        ServiceUnavailable: MLflow did not answer; the verdict is recorded.
    """
    from tasks.evaluation.evaluation import load_evaluation

    settings = load_settings()
    lake = open_lake(settings)
    line = resolve_line(settings, name, changes or {})
    verdict_id = digest(name, judged_key(str(training["run_key"]), line), evaluation_oid)[:24]
    evaluation = load_evaluation(lake, evaluation_oid)
    try:
        verdict = verdict_named(lake, verdict_id)
    except NotFound:  # the usual case: this evaluation was not judged before
        verdict = _decide(lake, line, verdict_id, evaluation_oid, evaluation, training)
        lake.tables.append("verdicts", [verdict], key="verdict_id")
    told = _told(lake, verdict)
    try:
        _show_in_mlflow(lake, verdict, evaluation)
    except NotFound as error:  # a run that a person deleted for good: its verdict and report are the lake's
        print(f"MLflow does not show this verdict: {error}", flush=True)
    return told


def _decide(
    lake: Lake,
    line: Line,
    verdict_id: str,
    evaluation_oid: str,
    evaluation: Evaluation,
    training: Mapping[str, Any],
) -> Verdict:
    from tasks.datasets.experiments import refuse_experiment
    from tasks.evaluation.report import Judged
    from tasks.gates.decide import decide

    refuse_experiment(lake.datasets.load(line.line, evaluation.dataset_version))
    judged_version = evaluation.challenger.model.model_version
    if training.get("model_version", judged_version) != judged_version:
        raise DataError(
            f"evaluation {evaluation_oid[:12]} is of model version {judged_version}",
            expected=f"one of version {training['model_version']}, whose training this is",
            fix="evaluate that version, or name this one's training",
        )
    outcome = decide(line, evaluation)
    judged = Judged(outcome.decision, outcome.reasons, outcome.gates, now())
    line_oid = lake.blobs.put_bytes(line.model_dump_json(by_alias=True).encode(), JSON)  # classes keep their order
    verdict = Verdict(
        verdict_id=verdict_id,
        line=line.line,
        run_key=str(training["run_key"]),
        verdict=judged.decision,
        reasons=judged.reasons,
        gates=judged.gates,
        metrics=evaluation.metrics,
        champion_metrics=evaluation.champion_metrics,
        intervals=evaluation.intervals,
        dataset_version=evaluation.dataset_version,
        model_version=evaluation.challenger.model.model_version,
        champion_version=evaluation.champion.model.model_version if evaluation.champion else None,
        mlflow_run=str(training["mlflow_run"]),
        evaluation_oid=evaluation_oid,
        report_oid=_report(lake, line, evaluation, judged, str(training["mlflow_run"])),
        line_oid=line_oid,
        at=judged.at,
    )
    return signed(lake.settings, verdict)


def signed(settings: Settings, verdict: Verdict) -> Verdict:
    """A verdict with this installation's signature, without which it puts nothing in charge."""
    return verdict.model_copy(update={"signature": sign(settings, verdict_statement(verdict))})


def doubt(settings: Settings, verdict: Verdict) -> str | None:
    """Why a verdict's row is not believed: nobody who is trusted here signed it; None: it is."""
    try:
        check(settings, verdict_statement(verdict), verdict.signature)
    except SignatureError as error:
        return str(error)
    return None


def _show_in_mlflow(lake: Lake, verdict: Verdict, evaluation: Evaluation) -> None:
    """Log the report, the numbers and the curves to the challenger's run; again is fine."""
    import tempfile
    from pathlib import Path

    from tasks.evaluation.artifacts import logged_metrics, write_artifacts
    from tasks.registry.models import open_registry
    from tasks.registry.runs import EpochMetrics

    runs = open_registry(lake.settings).runs
    with tempfile.TemporaryDirectory(prefix="nightscope-") as folder:
        report = lake.blobs.get_bytes(str(verdict.report_oid))
        runs.log_files(verdict.mlflow_run, write_artifacts(evaluation, report, Path(folder)))
    at_ms = int(verdict.at.timestamp() * 1000)  # the verdict's time, so that logging twice is logging once
    runs.log_epochs(verdict.mlflow_run, [EpochMetrics(epoch=1, at_ms=at_ms, metrics=logged_metrics(evaluation))])


def list_verdicts(name: str) -> list[dict[str, Any]]:
    """Every verdict of a line, newest first."""
    settings = load_settings()
    resolve_line(settings, name, {})
    found = open_lake(settings).tables.rows("verdicts", Verdict, {"line": name})
    return [verdict.model_dump(mode="json") for verdict in sorted(found, key=lambda verdict: verdict.at, reverse=True)]


def read_report(name: str, verdict_id: str | None = None, *, of_validation: bool = False) -> bytes:
    """The HTML report of a verdict, or of the validation of the dataset it was judged on.

    Args:
        name: The line.
        verdict_id: Which verdict; default the newest.
        of_validation: The validation's instead.

    Raises:
        NotFound: The line has no (such) verdict.
    """
    settings = load_settings()
    resolve_line(settings, name, {})
    lake = open_lake(settings)
    found = lake.tables.rows("verdicts", Verdict, {"line": name} | ({"verdict_id": verdict_id} if verdict_id else {}))
    if not found:
        raise NotFound(f"line {name}: no verdict {verdict_id or 'yet'}", fix=f"nightscope verdicts {name}")
    verdict = max(found, key=lambda each: each.at)
    oid = str(verdict.report_oid)
    if of_validation:
        oid = lake.datasets.load(name, verdict.dataset_version).about["validation"]["report_oid"]
    return lake.blobs.get_bytes(oid)


def report_of(verdict_id: str) -> bytes:
    """The HTML report of any line's verdict.

    Raises:
        NotFound: There is no verdict of that id, or it has no report.
    """
    lake = open_lake(load_settings())
    oid = verdict_named(lake, verdict_id).report_oid
    if oid is None:
        raise NotFound(f"verdict {verdict_id!r}: it has no report")
    return lake.blobs.get_bytes(oid)


def verdict_named(lake: Lake, verdict_id: str) -> Verdict:
    """One verdict.

    Raises:
        NotFound: There is none of that id.
    """
    found = lake.tables.rows("verdicts", Verdict, {"verdict_id": verdict_id})
    if not found:
        raise NotFound(f"verdict {verdict_id!r}: there is none of that id")
    return found[0]


def _report(lake: Lake, line: Line, evaluation: Evaluation, judged: Judged, mlflow_run: str) -> str:
    from tasks.evaluation.report import Link, store_report

    about = lake.datasets.load(line.line, evaluation.dataset_version).about
    links = (
        [Link("Validation report", lake.blobs.uri(about["validation"]["report_oid"]))] if "validation" in about else []
    )
    links += _leak_audit(lake, about.get("leak_check") or {})
    links += [Link("MLflow run", mlflow_run, _run_url(lake, mlflow_run))]
    return store_report(lake, line, evaluation, judged, links=links)


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


def _run_url(lake: Lake, mlflow_run: str) -> str | None:
    """The run's page; None while MLflow does not answer, or has lost it: a verdict does not wait for a link."""
    from tasks.registry.models import open_registry

    try:
        return open_registry(lake.settings).runs.url_of(mlflow_run)
    except (TransportError, DataError) as error:
        print(f"no link to MLflow run {mlflow_run} in the report: {error}")
        return None


def _told(lake: Lake, verdict: Verdict) -> dict[str, Any]:
    where = f"s3://{lake.store.bucket}/{lake.blobs.key(str(verdict.report_oid))}"
    print(f"verdict: {verdict.verdict}; report: {where}")
    for reason in verdict.reasons:
        print(f"  {reason}")
    return {
        "verdict_id": verdict.verdict_id,
        "verdict": verdict.verdict.value,
        "reasons": list(verdict.reasons),
        "report_oid": verdict.report_oid,
        "report": where,
    }
