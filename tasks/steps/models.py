"""Steps that make a challenger, judge it, and put it in charge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tasks.config import Line, load_settings
from tasks.errors import DataError, NotFound, NothingToDo
from tasks.lake import Lake, open_lake
from tasks.schemas import Decision, Verdict, digest, now
from tasks.steps.news import finish_night, judged_key, resolve_line


def train_challenger(name: str, changes: Mapping[str, Any] | None, dataset_version: str) -> dict[str, Any]:
    """Train on a dataset version and register the challenger. Finished = returned, killed = resumed.

    Returns:
        `run_key`, `model_version`, `mlflow_run`, `weights_oid`, `epochs`, `steps`, `resumed_from_epoch`, `seconds`.
    """
    from tasks.datasets.formats.yolo import materialise
    from tasks.training.detection import train_challenger as train

    settings = load_settings()
    lake = open_lake(settings)
    line = resolve_line(settings, name, changes or {})
    manifest = lake.datasets.load(name, dataset_version)
    print(f"materialising dataset {dataset_version[:12]}: {manifest.rows.num_rows} frames")
    data_yaml = materialise(lake, line, dataset_version)
    training = train(lake, line, dataset_version, data_yaml, bool(manifest.about["has_val"]), progress=_say)
    return training.model_dump(mode="json")


def evaluate_models(name: str, changes: Mapping[str, Any] | None, dataset_version: str, model_version: str) -> str:
    """Judge challenger and champion on the same frozen test split, in this run.

    Where the challenger is in charge already (a night that was killed between promoting and filing), the evaluation
    that put it there is taken up again.

    Returns:
        The evaluation's oid.
    """
    from tasks.evaluation.evaluate import evaluate
    from tasks.lake.locks import lake_lock
    from tasks.registry.models import open_registry
    from tasks.steps.predictors import loader, reference

    settings = load_settings()
    lake = open_lake(settings)
    line = resolve_line(settings, name, changes or {})
    registry = open_registry(settings)
    with lake_lock(settings, f"promote-{name}"):
        registry.settle(name)
    challenger, champion = registry.version(name, model_version), registry.champion(name)
    if champion is not None and champion.version == challenger.version:
        if champion.verdict_id is None:
            raise NothingToDo(f"model version {model_version} is called champion in MLflow already, by hand")
        return verdict_named(lake, champion.verdict_id).evaluation_oid
    key = _evaluation_key(line, dataset_version, challenger.version, champion.version if champion else None)
    if lake.store.head(key):  # of a night that was killed after it
        return str(json.loads(lake.store.get_bytes(key))["evaluation_oid"])
    oid, evaluation = evaluate(
        lake,
        line,
        dataset_version,
        challenger=reference(challenger),
        champion=reference(champion) if champion else None,
        load=loader(lake, line),
    )
    lake.store.put_bytes(key, json.dumps({"evaluation_oid": oid}).encode(), "application/json")
    print(
        f"evaluated {evaluation.images} frames of {len(evaluation.recordings)} test recordings on {evaluation.device}"
    )
    return oid


def _evaluation_key(line: Line, dataset_version: str, challenger: str, champion: str | None) -> str:
    """Where an evaluation is found again: its name follows from all that decides it, but not from thresholds."""
    measured = sorted(f"{gate.metric} {gate.device}" for gate in line.gates)
    parts = (line.evaluation.model_dump(), list(line.classes), measured, dataset_version, challenger, champion)
    return f"evaluations/{line.line}/{digest(*parts)}.json"


def decide_verdict(
    name: str, changes: Mapping[str, Any] | None, evaluation_oid: str, training: Mapping[str, Any]
) -> dict[str, Any]:
    """Put an evaluation through the line's gates, and record the verdict with its report.

    Returns:
        `verdict_id`, `verdict`, `reasons`, `report_oid`, `report`.
    """
    from tasks.evaluation.evaluation import load_evaluation
    from tasks.gates.decide import decide

    settings = load_settings()
    lake = open_lake(settings)
    line = resolve_line(settings, name, changes or {})
    verdict_id = digest(name, training["run_key"], evaluation_oid, [gate.model_dump() for gate in line.gates])[:24]
    try:
        return _told(lake, verdict_named(lake, verdict_id))
    except NotFound:
        pass  # the usual case: this evaluation was not judged before
    evaluation = load_evaluation(lake, evaluation_oid)
    outcome = decide(line, evaluation)
    at = now()
    report_oid = _report(lake, line, evaluation, outcome, at, str(training["mlflow_run"]))
    verdict = Verdict(
        verdict_id=verdict_id,
        line=name,
        run_key=str(training["run_key"]),
        verdict=outcome.decision,
        reasons=outcome.reasons,
        gates=outcome.gates,
        metrics=evaluation.metrics,
        champion_metrics=evaluation.champion_metrics,
        intervals=evaluation.intervals,
        dataset_version=evaluation.dataset_version,
        model_version=evaluation.challenger.model.model_version,
        champion_version=evaluation.champion.model.model_version if evaluation.champion else None,
        mlflow_run=str(training["mlflow_run"]),
        evaluation_oid=evaluation_oid,
        report_oid=report_oid,
        at=at,
    )
    lake.tables.append("verdicts", [verdict], key="verdict_id")
    return _told(lake, verdict)


def promote_model(name: str, verdict_id: str, *, news: str | None = None, dry_run: bool = False) -> dict[str, Any]:
    """Put the model in charge if its verdict says so, and file the night as finished. Safe to repeat.

    Args:
        name: The line.
        verdict_id: The verdict to carry out.
        news: Fingerprint of the night's inputs, from `check_news`; filed, so that the same inputs are not judged twice.
        dry_run: Change nothing, file nothing.

    Raises:
        NothingToDo: The verdict is not 'promote', or this is a dry run.
    """
    from tasks.lake.locks import lake_lock
    from tasks.registry.models import open_registry

    settings = load_settings()
    lake = open_lake(settings)
    verdict = verdict_named(lake, verdict_id)
    if verdict.line != name:
        raise DataError(f"verdict {verdict_id}", expected=f"one of line {name}", found=f"one of line {verdict.line}")
    if dry_run:
        raise NothingToDo(f"dry run: the verdict is {verdict.verdict}; the champion stays")
    record = verdict.model_dump(mode="json", include={"verdict", "model_version", "dataset_version", "verdict_id"})
    if verdict.verdict is not Decision.PROMOTE:
        _file(lake, name, verdict, news, record)
        raise NothingToDo(f"the verdict is {verdict.verdict}; the champion stays")
    registry = open_registry(settings)
    with lake_lock(settings, f"promote-{name}"):
        registry.settle(name)
        champion = registry.champion(name)
        if champion and champion.version not in (verdict.model_version, verdict.champion_version):
            raise DataError(
                f"verdict {verdict_id} compared with model version {verdict.champion_version or 'none'}",
                found=f"version {champion.version} in charge by now",
                fix="run the night again: it judges against the model in charge",
            )
        promoted = registry.promote(name, verdict.model_version, verdict_id)
    _file(lake, name, verdict, news, record)
    print(f"model version {promoted.version} is the champion of line {name}")
    return {"model_version": promoted.version, "promoted_at": str(promoted.promoted_at)}


def training_of(name: str, model_version: str) -> dict[str, Any]:
    """What `decide_verdict` needs of a training, from the registry."""
    from tasks.registry.models import open_registry

    record = open_registry(load_settings()).version(name, model_version)
    return {"run_key": record.about.run_key, "mlflow_run": record.mlflow_run, "model_version": record.version}


def describe_champion(name: str) -> dict[str, Any]:
    """What is in charge of a line, and why.

    Raises:
        NotFound: The line has no champion yet.
    """
    from tasks.registry.models import open_registry

    settings = load_settings()
    resolve_line(settings, name, {})
    record = open_registry(settings).champion(name)
    if record is None:
        raise NotFound(f"line {name} has no champion yet", fix=f"nightscope run {name}")
    if record.verdict_id is None:
        raise NotFound(
            f"line {name}: model version {record.version} is called champion in MLflow, but no verdict put it there",
            fix="take the alias away in MLflow, and let a night decide",
        )
    verdict = verdict_named(open_lake(settings), record.verdict_id)
    return {
        "line": name,
        "model_version": record.version,
        "dataset_version": record.dataset_version,
        "metrics": verdict.metrics,
        "intervals": verdict.intervals,
        "promoted_at": record.promoted_at.isoformat() if record.promoted_at else None,
        "verdict": verdict.model_dump(mode="json", include={"verdict_id", "verdict", "reasons", "at", "report_oid"}),
        "mlflow_run": record.mlflow_run,
        "weights_oid": record.weights_oid,
    }


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


def verdict_named(lake: Lake, verdict_id: str) -> Verdict:
    """One verdict.

    Raises:
        NotFound: There is none of that id.
    """
    found = lake.tables.rows("verdicts", Verdict, {"verdict_id": verdict_id})
    if not found:
        raise NotFound(f"verdict {verdict_id!r}: there is none of that id")
    return found[0]


def _file(lake: Lake, name: str, verdict: Verdict, news: str | None, record: Mapping[str, Any]) -> None:
    thresholds = ((result.gate, result.threshold) for result in verdict.gates)
    finish_night(lake, name, judged_key(verdict.run_key, thresholds), record)
    if news:
        finish_night(lake, name, news, record)


def _report(lake: Lake, line: Line, evaluation: Any, outcome: Any, at: Any, mlflow_run: str) -> str:
    from tasks.evaluation.report import Link, store_report
    from tasks.registry.models import open_registry

    about = lake.datasets.load(line.line, evaluation.dataset_version).about
    links = [
        Link("Validation report", f"s3://{lake.store.bucket}/{lake.blobs.key(about['validation']['report_oid'])}"),
        Link("MLflow run", mlflow_run, open_registry(lake.settings).runs.url_of(mlflow_run)),
    ]
    return store_report(
        lake,
        line,
        evaluation,
        decision=outcome.decision,
        reasons=outcome.reasons,
        gates=outcome.gates,
        at=at,
        links=links,
    )


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


def _say(text: str) -> None:
    print(text, flush=True)
