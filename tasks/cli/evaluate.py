"""`nightscope train` and `evaluate`: a model measured by itself, without gates, verdict or promotion."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasks.cli.output import (
    AsJson,
    Changes,
    Line,
    check_writable,
    dump,
    escape,
    paper,
    parse_changes,
    print_json,
    table,
)
from tasks.cli.predict import ModelVersion
from tasks.errors import ConfigError
from tasks.session import open_session

if TYPE_CHECKING:
    from tasks.metrics.judgement import Metric
    from tasks.operations.evaluating import EvaluatedModel

TestSplitOf = Annotated[
    str | None,
    typer.Option(
        "--dataset", metavar="VERSION", help="Whose test split, by its first digits; default the newest version."
    ),
]
Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="The report; default ./LINE-evaluation.html.")]


def evaluate(
    line: Line,
    version: ModelVersion = None,
    dataset: TestSplitOf = None,
    out: Out = None,
    json_: AsJson = False,
) -> None:
    """Measure LINE's champion, or a version, on a test split, with intervals, and write the report.

    It asks no gate, gives no verdict and puts nobody in charge.
    """
    from tasks import operations

    check_writable(out, "--out")
    with redirect_stdout(sys.stderr), open_session() as session:
        evaluated = operations.evaluate_model(session, line, version, dataset)
    found = dump(evaluated) | {"report": str(_saved(evaluated, out))}
    if json_:
        print_json(found)
    else:
        _show(found)


def train(line: Line, set_: Changes = None, out: Out = None, json_: AsJson = False) -> None:
    """Train LINE's recipe on what its labels say now, and measure the model: a night without gates and promotion.

    It runs here and not in Airflow, and takes no new recordings in. The model is registered as challenger.
    """
    from tasks import operations

    check_writable(out, "--out")
    changes = parse_changes(set_)
    with redirect_stdout(sys.stderr), open_session() as session:
        trained = operations.train_model(session, line, changes)
    found = dump(trained) | {"report": str(_saved(trained.evaluation, out))}
    if json_:
        print_json(found)
        return
    paper.print(
        f"[bold]{line}[/]: {found['epochs']} epochs, {found['steps']} steps, {found['seconds']:.0f} s; MLflow run "
        f"{found['mlflow_run']}"
    )
    _show({**found["evaluation"], "report": found["report"]})


def _saved(evaluated: EvaluatedModel, out: Path | None) -> Path:
    path = out or Path(f"{evaluated.line}-evaluation.html")
    try:
        path.write_text(evaluated.report_html, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}", fix="say --out") from error
    return path.resolve()


def _show(found: dict[str, Any]) -> None:
    from tasks.kinds import kind_of

    paper.print(
        f"[bold]{found['line']}[/]: model version [bold]{found['model_version']}[/] on {found['images']} test images "
        f"of {found['clusters']} groups (dataset {found['dataset_version'][:12]}), {found['device']}"
    )
    metrics = kind_of(found["kind"]).metrics.METRICS
    rows = table("on the test split", "", "value", "interval")
    for metric in metrics:
        if metric.name in found["metrics"]:
            rows.add_row(metric.title, *_shown(metric, found["metrics"], found["intervals"]))
    for family, parts in found["metrics"].items():
        if family.startswith("per_") and family != "per_recording":
            for name, own in parts.items():
                between = (found["intervals"].get(family) or {}).get(name) or {}
                where = f"{metrics[0].title}, {family.removeprefix('per_')} {name}"
                rows.add_row(escape(where), *_shown(metrics[0], own, between))
    paper.print(rows)
    paper.print(escape(f"  report: {found['report']}"))


def _shown(metric: Metric, values: dict[str, Any], intervals: dict[str, Any]) -> tuple[str, str]:
    value, between = values.get(metric.name), intervals.get(metric.name) or {}
    low, high = between.get("low"), between.get("high")
    interval = "" if low is None or high is None else f"{low:.{metric.digits}f} to {high:.{metric.digits}f}"
    return ("–" if value is None else f"{value:.{metric.digits}f}"), interval
