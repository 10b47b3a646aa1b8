"""`nightscope champion`, `verdicts`, `report` and `quarantine`: what is in charge and why, and what was set aside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasks.cli.output import AsJson, Line, dump, escape, paper, print_json, table
from tasks.errors import ConfigError
from tasks.session import open_session

if TYPE_CHECKING:
    from tasks.metrics.judgement import Metric


def champion(line: Line, json_: AsJson = False) -> None:
    """Say which model is in charge of LINE, how good it was when it was judged, and which verdict put it there."""
    from tasks import operations

    with open_session() as session:
        report = dump(operations.describe_champion(session, line))
        kind = session.line(line).kind
    if json_:
        print_json(report)
        return
    promoted = escape(str(report["promoted_at"]))
    paper.print(f"[bold]{line}[/]: model version [bold]{report['model_version']}[/], promoted {promoted}")
    paper.print(f"  [dim]dataset version:[/] {escape(str(report['dataset_version']))}")
    for sentence in report["unlearned"]:
        paper.print(f"  [bold yellow]mind:[/] {escape(sentence)}")
    for one in report["learned_from_erased"]:
        paper.print(
            f"  [bold yellow]mind:[/] it learned from data that was erased on {escape(one['at'][:10])} "
            f"({escape(one['tombstone'])}); the line's next night trains without it"
        )
    _print_metrics(kind, report["metrics"])
    if report["order"] and report["order"]["by"]:
        note = f": {report['order']['note']}" if report["order"]["note"] else ""
        paper.print(escape(f"  put in charge by {report['order']['by']} ({report['order']['action']}){note}"))
    for reason in report["verdict"]["reasons"] if report["verdict"] else ["no verdict was ever given on it"]:
        paper.print(escape(f"  {reason}"))


def verdicts(line: Line, json_: AsJson = False) -> None:
    """List every verdict of LINE, newest first, and what became of it."""
    from tasks import operations

    with open_session() as session:
        outcomes = {name: dump(outcome) for name, outcome in operations.list_outcomes(session, line).items()}
        history = [
            {**dump(verdict), "outcome": outcomes.get(verdict.verdict_id)}
            for verdict in operations.list_verdicts(session, line)
        ]
        kind = session.line(line).kind
    if json_:
        print_json(history)
        return
    main = _main_metrics(kind)
    titles = [metric.title for metric in main]
    rows = table(f"verdicts of {line}", "at", "verdict", "outcome", "model", *titles, "dataset", "why")
    for item in history:
        numbers = (_number(item["metrics"].get(metric.name)) for metric in main)
        rows.add_row(
            item["at"][:16], item["verdict"], _outcome(item["outcome"]), item["model_version"], *numbers,
            item["dataset_version"][:12], escape(item["reasons"][0] if item["reasons"] else ""),
        )  # fmt: skip
    paper.print(rows)


def report(
    line: Line,
    verdict_id: Annotated[str | None, typer.Option("--verdict", help="Which verdict; default the newest.")] = None,
    validation: Annotated[bool, typer.Option("--validation", help="The report on the labels instead.")] = False,
    out: Annotated[Path | None, typer.Option(help="Where to write it; default ./LINE-report.html.")] = None,
) -> None:
    """Save the report of a verdict (or of its labels) as an HTML file to open in a browser."""
    from tasks import operations

    with open_session() as session:
        page = operations.read_report(session, line, verdict_id, of_validation=validation)
    path = out or Path(f"{line}-{'labels' if validation else 'report'}.html")
    try:
        path.write_bytes(page)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}", fix="say --out") from error
    paper.print(str(path.resolve()))


def quarantine(line: Annotated[str | None, typer.Argument(metavar="[LINE]")] = None, json_: AsJson = False) -> None:
    """List what was set aside because it is bad, with its reason, newest first; with LINE, what concerns it."""
    from tasks import operations

    with open_session() as session:
        items = [dump(item) for item in operations.list_quarantine(session, line)]
    if json_:
        print_json(items)
        return
    rows = table("quarantine", "at", "what", "which", "reason", "annotator")
    for item in items:
        which, reason = escape(item["subject"]), escape(item["reason"])
        rows.add_row(item["at"][:16], escape(item["what"]), which, reason, escape(item["annotator"] or ""))
    paper.print(rows)


def _outcome(outcome: dict[str, Any] | None) -> str:
    """'promoted', 'held by ana', 'rolled back by bob'; a dash for a verdict that nobody has carried out."""
    if outcome is None:
        return "–"
    by = f" by {outcome['by']}" if outcome["by"] else ""
    return escape(f"{outcome['state'].replace('_', ' ')}{by}")


def _main_metrics(kind: str) -> list[Metric]:
    """The two metrics of a kind that a table has room for."""
    from tasks.kinds import kind_of

    return [metric for metric in kind_of(kind).metrics.METRICS if metric.paired][:2]


def _print_metrics(kind: str, metrics: dict[str, Any]) -> None:
    main = _main_metrics(kind)
    rows = table("on the frozen test split", "", *(metric.title for metric in main), "labels")
    rows.add_row("all", *(_number(metrics.get(metric.name)) for metric in main), "")
    for name, own in (metrics.get("per_class") or metrics.get("per_label") or {}).items():
        numbers = (_number(own.get(metric.name)) for metric in main)
        rows.add_row(escape(name), *numbers, str(own.get("labels", "")))
    paper.print(rows)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
