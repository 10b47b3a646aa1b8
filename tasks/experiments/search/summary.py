"""Sum a search up: which trials there are, which is best, what mattered; as JSON, as a report, and in MLflow."""

from __future__ import annotations

import csv
import io
import json
import logging
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tasks.errors import NotFound, StepFailed
from tasks.escaping import csv_cell
from tasks.experiments.experiment_runs import file_result, filed_result
from tasks.experiments.search import records, study
from tasks.experiments.search.records import Search, TrialResult
from tasks.lake.searches import trial_name
from tasks.schemas import Frozen, Oid, digest
from tasks.session import Session

log = logging.getLogger(__name__)

NOTICE = (
    "Every value here was measured on the validation split, and the best of many is flattered by having been chosen. "
    "The test split was not touched: the night that trains with the winner's values judges them there, by the gates."
)


class BestTrial(Frozen):
    """The winner."""

    trial: str
    """Its name, e.g. 'lr#12': what `--from-search` takes."""
    number: int
    value: float
    params: dict[str, Any]
    changes: dict[str, Any]
    """All that a night is given to train the same."""
    metrics: dict[str, float | None]


class SearchSummary(Frozen):
    """A search summed up."""

    line: str
    search: str
    dataset_version: str
    """Of the night whose training and validation frames were used."""
    space: dict[str, Any]
    changes: dict[str, Any]
    metric: str
    where: str | None
    better: str
    sampler: str
    pruner: str
    seed: int
    trials: tuple[dict[str, Any], ...]
    """Each with `state` (complete, pruned, failed, unfinished, waiting), `params`, `value`, `metrics`, and `why`."""
    complete: bool
    """Whether every trial has finished or was ended early."""
    best: BestTrial | None
    command: str
    """By which a night trains with the winner's values; empty: there is no winner."""
    importances: dict[str, float]
    importances_by: str
    """The method; empty: too few trials to say."""
    notice: str
    warnings: tuple[str, ...]
    result_oid: Oid
    report_oid: Oid
    report: str
    """Where the report is."""
    mlflow_run: str


def summarise_search(
    session: Session, name: str, search: str | None, *, must_be_complete: bool = False
) -> SearchSummary:
    """Sum up the trials that are finished, say which are not and why, store it with its report, and log it in MLflow.

    Args:
        session: Whose lake.
        name: The line.
        search: Its name; None: planning it failed.
        must_be_complete: Raise, when all is stored, where a trial is missing.

    Raises:
        NotFound: There is no such search.
        StepFailed: There is none, or a trial is missing and all must be there.
        ServiceUnavailable: MLflow did not answer. The summary is stored: call again.
    """
    from tasks.experiments.search.report import render_report

    if search is None:
        raise StepFailed(f"line {name}: there is no search to sum up", fix="see why plan_search failed")
    lake, asked = session.lake, records.load_search(session.lake, name, search)
    finished = [found for number in asked.numbers if (found := records.find_result(lake, asked, number))]
    summary = _summary(session, asked, finished)
    report = render_report(session.line(name), asked, summary, finished).encode()
    summary["report_oid"] = lake.blobs.put_bytes(report, "text/html; charset=utf-8")
    summary["report"] = lake.blobs.uri(summary["report_oid"])
    summary["mlflow_run"] = _log(session, asked, summary, finished, report)
    result = SearchSummary(**summary, result_oid="0" * 64).model_dump(mode="json", exclude={"result_oid"})
    oid = file_result(lake, f"{records.folder(name, search)}/result.json", result)
    missing = [trial for trial in summary["trials"] if trial["state"] not in ("complete", "pruned")]
    if missing and must_be_complete:
        raise StepFailed(
            f"line {name}: {len(missing)} of {asked.trials} trials of search {search} are missing",
            found="; ".join(f"trial {trial['number']}: {trial['why']}" for trial in missing[:5]),
            fix="the others are kept and summed up; mend the cause and run the same again: only these are done",
        )
    return SearchSummary(**summary, result_oid=oid)


def find_summary(session: Session, name: str, search: str | None = None) -> SearchSummary:
    """The newest summary of a search, as it was stored; nothing is run.

    Args:
        session: Whose lake.
        name: The line.
        search: Its name; default the one that was begun last.

    Raises:
        NotFound: The line has no (such) search, or it was never summed up.
    """
    session.line(name)
    if search is None:
        known = list_searches(session, name)
        if not known:
            raise NotFound(f"line {name}: no search yet", fix=f"nightscope search {name} --space space.yaml")
        search = known[0].name
    records.load_search(session.lake, name, search)
    found = filed_result(session.lake, f"{records.folder(name, search)}/result.json")
    if found is None:
        raise NotFound(
            f"line {name}: search {search} has not come to a summary yet", fix="run it again: it goes on where it was"
        )
    return SearchSummary.model_validate(found)


def list_searches(session: Session, name: str) -> list[Search]:
    """A line's searches, the one that was begun last first."""
    session.line(name)
    names = records.search_names(session.lake, name)
    found = [search for each in names if (search := records.find_search(session.lake, name, each))]
    return sorted(found, key=lambda search: search.at, reverse=True)


def _summary(session: Session, search: Search, finished: Sequence[TrialResult]) -> dict[str, Any]:
    best = study.best_of(search, finished)
    shares, by = study.importances(search, finished)
    trials = [_shown(session, search, number, finished) for number in search.numbers]
    codes = {result.code_version for result in finished}
    warnings = [f"its trials were trained by {len(codes)} versions of the code"] if len(codes) > 1 else []
    if best and not by:
        warnings.append("too few finished trials, or too alike, to say which key mattered")
    return {
        "line": search.line, "search": search.name, "dataset_version": search.of, "space": search.space,
        "changes": search.changes, "metric": search.metric, "where": search.where, "better": search.better,
        "sampler": search.sampler, "pruner": search.pruner, "seed": search.seed, "trials": trials,
        "complete": all(trial["state"] in ("complete", "pruned") for trial in trials),
        "best": _best(search, best) if best else None, "command": command(search.line, best.changes) if best else "",
        "importances": shares, "importances_by": by, "notice": NOTICE, "warnings": warnings,
    }  # fmt: skip


def _best(search: Search, best: TrialResult) -> dict[str, Any]:
    kept = best.model_dump(mode="json", include={"number", "value", "params", "changes", "metrics"})
    return {"trial": trial_name(search.name, best.number), **kept}


def _shown(session: Session, search: Search, number: int, finished: Sequence[TrialResult]) -> dict[str, Any]:
    """A trial for the table, whatever became of it."""
    found = next((result for result in finished if result.number == number), None)
    if found is not None:
        kept = found.model_dump(mode="json", exclude={"epochs", "changes", "code_version"})
        return {**kept, "epochs": found.epochs[-1][0] if found.epochs else None, "why": None}
    plan = records.find_plan(session.lake, search, number)
    failure = records.find_failure(session.lake, search, number)
    state = "failed" if failure else "unfinished" if plan else "waiting"
    why = {"unfinished": "not finished: it was killed, or is running", "waiting": "has not begun"}.get(state)
    empty = dict.fromkeys(("value", "run_key", "weights_oid", "seconds", "at", "epochs"))
    return {
        "number": number,
        "params": plan.params if plan else {},
        "state": state,
        "metrics": {},
        **empty,
        "why": failure["why"] if failure else why,
    }


def command(line: str, changes: Mapping[str, Any]) -> str:
    """The command line of a night with these changes, ready to paste: each value as `--set` reads it."""
    pairs = (f"{key}={yaml.safe_dump(value, default_flow_style=True, width=10_000).splitlines()[0]}"
             for key, value in changes.items())  # fmt: skip
    return " ".join(["nightscope", "run", line, *(f"--set {shlex.quote(pair)}" for pair in pairs)])


def as_csv(summary: Mapping[str, Any]) -> str:
    """The trials as a table: a column for each key of the space, and for each metric."""
    sink = io.StringIO()
    writer = csv.writer(sink)
    keys = list(summary["space"])
    metrics = list(dict.fromkeys(name for trial in summary["trials"] for name in trial["metrics"]))
    writer.writerow(["trial", "state", "value", *keys, *metrics])
    for trial in summary["trials"]:
        cells = [trial["number"], trial["state"], trial["value"], *(trial["params"].get(key) for key in keys)]
        writer.writerow([csv_cell(cell) for cell in (*cells, *(trial["metrics"].get(name) for name in metrics))])
    return sink.getvalue()


def _log(
    session: Session, search: Search, summary: Mapping[str, Any], finished: Sequence[TrialResult], report: bytes
) -> str:
    """One run in MLflow: each trial's value as a step of a metric, the table, the report, and the study for Optuna."""
    from tasks.experiments.search.journal import write_journal
    from tasks.registry.runs import EpochMetrics

    runs = session.registry.runs
    tags = {"nightscope.kind": "search", "nightscope.line": search.line, "nightscope.search": search.name,
            "nightscope.dataset_version": search.of, "nightscope.complete": summary["complete"]}  # fmt: skip
    best = summary["best"]
    tags |= {"nightscope.best": best["trial"], "nightscope.best_values": best["changes"]} if best else {}
    run = runs.open(search.line, digest("search", search.line, search.name), name=f"search-{search.name}", tags=tags)
    runs.log_params(run, {"sampler": search.sampler, "seed": search.seed, "space": search.space,
                          "metric": search.metric, "dataset_version": search.of})  # fmt: skip
    values = [(result.number, result.at, result.value) for result in finished if result.value is not None]
    entries = [
        EpochMetrics(epoch=number, at_ms=round(at.timestamp() * 1000), metrics={f"trial/{search.metric}": value})
        for number, at, value in values
    ]
    runs.log_epochs(run, entries)
    with tempfile.TemporaryDirectory(prefix="nightscope-") as scratch:
        folder = Path(scratch)
        (folder / "report.html").write_bytes(report)
        (folder / "trials.csv").write_text(as_csv(summary))
        (folder / "search.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False, default=str))
        write_journal(search, finished, folder / "optuna-journal.log")
        runs.log_files(run, {path.name: path for path in sorted(folder.iterdir())})
    runs.finish(run, failed=not summary["complete"])
    return run
