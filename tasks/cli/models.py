"""`nightscope champion` and `nightscope verdicts`: what is in charge and why; history."""

from __future__ import annotations

from typing import Any

from tasks.cli.output import AsJson, Line, paper, print_json, table


def champion(line: Line, json_: AsJson = False) -> None:
    """Say which model is in charge of LINE, how good it was when it was judged, and which verdict put it there."""
    from tasks import steps

    report = steps.describe_champion(line)
    if json_:
        print_json(report)
        return
    paper.print(f"[bold]{line}[/]: model version [bold]{report['model_version']}[/], promoted {report['promoted_at']}")
    paper.print(f"  [dim]dataset version:[/] {report['dataset_version']}")
    _print_metrics(report["metrics"])
    for reason in report["verdict"]["reasons"]:
        paper.print(f"  {reason}", markup=False)


def verdicts(line: Line, json_: AsJson = False) -> None:
    """List every verdict of LINE, newest first."""
    from tasks import steps

    history = steps.list_verdicts(line)
    if json_:
        print_json(history)
        return
    rows = table(f"verdicts of {line}", "at", "verdict", "model", "AP50", "AP50-95", "dataset", "why")
    for item in history:
        numbers = (_number(item["metrics"].get(name)) for name in ("AP50", "AP50_95"))
        rows.add_row(
            item["at"][:16], item["verdict"], item["model_version"], *numbers, item["dataset_version"][:12],
            item["reasons"][0] if item["reasons"] else "",
        )  # fmt: skip
    paper.print(rows)


def _print_metrics(metrics: dict[str, Any]) -> None:
    rows = table("on the frozen test split", "", "AP50", "AP50-95", "labels")
    rows.add_row("all", _number(metrics.get("AP50")), _number(metrics.get("AP50_95")), "")
    for name, own in (metrics.get("per_class") or {}).items():
        rows.add_row(name, _number(own.get("AP50")), _number(own.get("AP50_95")), str(own.get("labels", "")))
    paper.print(rows)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
