"""Show a cross-validation's summary where people look for it: in a table, and in a run in MLflow."""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.escaping import csv_cell

if TYPE_CHECKING:
    from tasks.registry import Registry


def log_summary(registry: Registry, line: Line, key: str, kind: str, summary: Mapping[str, Any]) -> str:
    """Log a summary: the mean and its interval as metrics, each fold's score as a step of one, and the table as a file.

    Args:
        registry: Where the run goes.
        line: In whose experiment the run stands.
        key: What the run is found by: the same again is the same run.
        kind: Its tag `nightscope.kind`.
        summary: What `summarise_folds` returns, but for the run.

    Returns:
        The run's id.

    Raises:
        ServiceUnavailable: MLflow did not answer.
    """
    from tasks.registry.runs import EpochMetrics

    runs = registry.runs
    number = len(summary["folds"])
    tags = {
        "nightscope.kind": kind,
        "nightscope.line": line.line,
        "nightscope.dataset_version": summary["dataset_version"],
        "nightscope.result_oid": summary["result_oid"],
        "nightscope.complete": summary["complete"],
    }
    run = runs.open(line.line, key, name=f"{number}-fold-{key[:8]}", tags=tags)
    runs.log_params(run, {"folds": number, "seed": summary["seed"], "recipe": summary["recipe"]["name"],
                          "dataset_version": summary["dataset_version"]})  # fmt: skip
    entries = []
    for index, fold in enumerate(summary["folds"]):
        if fold["state"] == "finished":
            at_ms = round(datetime.fromisoformat(fold["at"]).timestamp() * 1000)
            named = {_name(score): score["folds"][index] for score in summary["scores"]}
            metrics = {f"fold/{name}": value for name, value in named.items() if value is not None}
            entries.append(EpochMetrics(epoch=fold["fold"], at_ms=at_ms, metrics=metrics))
    if entries:
        kept = {
            f"{part}/{_name(score)}": score[part] for score in summary["scores"] for part in ("mean", "low", "high")
        }
        numbers = {name: value for name, value in kept.items() if value is not None}
        entries.append(EpochMetrics(epoch=1, at_ms=max(entry.at_ms for entry in entries), metrics=numbers))
    runs.log_epochs(run, entries)
    with tempfile.TemporaryDirectory(prefix="nightscope-") as folder:
        table, document = Path(folder) / "folds.csv", Path(folder) / "cross-validation.json"
        table.write_text(as_csv(summary))
        document.write_text(json.dumps(summary, indent=2, ensure_ascii=False, default=str))
        runs.log_files(run, {"folds.csv": table, "cross-validation.json": document})
    runs.finish(run, failed=not summary["complete"])
    return run


def as_csv(summary: Mapping[str, Any]) -> str:
    """Write the summary as a table: a row for each metric and slice, a column for each fold."""
    sink = io.StringIO()
    writer = csv.writer(sink)
    names = ["metric", "where", "mean", "low", "high", "sd", *(f"fold {fold['fold']}" for fold in summary["folds"])]
    writer.writerow(names)
    for score in summary["scores"]:
        numbers = [score[part] for part in ("mean", "low", "high", "sd")]
        cells = [score["metric"], score["where"] or "all", *numbers, *score["folds"]]
        writer.writerow([csv_cell(cell) for cell in cells])
    return sink.getvalue()


def _name(score: Mapping[str, Any]) -> str:
    """In MLflow's letters."""
    return re.sub(r"[^\w\-. ]", "_", ".".join(filter(None, (score["where"], score["metric"]))))
