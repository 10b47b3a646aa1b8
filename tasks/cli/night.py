"""`nightscope run`: trigger a line's night through Airflow and follow it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

from tasks.cli.output import AsJson, Changes, Line, dump, escape, paper, parse_changes, print_json, screen
from tasks.errors import ConfigError
from tasks.schemas import ENDINGS, Decision, NightState, now
from tasks.session import open_session
from tasks.stack.airflow_api import AirflowApi

OF_THE_RUN = ("force", "dry_run", "override", "note", "recipe_values")
"""Fields of the form that change nothing of the line."""

MARKS = {
    "success": "[green]✓[/]",
    "skipped": "[dim]–[/]",
    "failed": "[red]✗[/]",
    "upstream_failed": "[dim]·[/]",
    "awaiting_input": "[yellow]?[/]",
}


FromSearch = Annotated[
    str | None,
    typer.Option(
        "--from-search", metavar="NAME[#TRIAL]",
        help="Train with the values of a search's winner, or of one of its trials; noted in the evidence.",
    ),
]  # fmt: skip


def run(line: Line, set_: Changes = None, from_search: FromSearch = None, json_: AsJson = False) -> None:
    """Run the night of LINE now, and follow it step by step.

    Exit code 0 when the night did its work (promoted, held, rejected, skipped, or judged as insufficient_data), 3 when
    it stopped for lack of data before it could judge, 1 when it failed.
    """
    changes = _parsed(set_)
    if from_search is not None:
        changes["from_search"] = _trial(line, from_search)
    finish(run_night(line, changes), json_)


def finish(report: dict[str, Any], json_: bool) -> None:
    """Print a night's report, and exit as it ended."""
    if json_:
        print_json(report)
    else:
        show(report)
    if report["state"] == NightState.FAILED:
        raise typer.Exit(1)
    if report["state"] == NightState.INSUFFICIENT_DATA and report["model_version"] is None:
        raise typer.Exit(3)


def _trial(line: str, name: str) -> str:
    """The trial that is meant, by its full name: the winner may change when a search goes on, a trial does not."""
    from tasks import experiments

    if "#" in name:
        return name
    with open_session() as session:
        found = experiments.find_summary(session, line, name)
    if found.best is None:
        raise ConfigError(f"search {name!r}: none of its trials has finished", fix=f"nightscope search {line} --show")
    return found.best.trial


def _parsed(pairs: list[str] | None) -> dict[str, Any]:
    """The changes. A note is text as it stands: 'better: seen by eye' is YAML for something else."""
    notes = [pair for pair in pairs or [] if pair.partition("=")[0].strip() == "note" and "=" in pair]
    made = parse_changes([pair for pair in pairs or [] if pair not in notes])
    return made | ({"note": notes[-1].partition("=")[2]} if notes else {})


def run_night(line: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Trigger the night and wait for its end.

    Raises:
        ConfigError: Unknown or bad values; nothing was triggered.
    """
    from tasks import steps

    with open_session() as session:
        settings, own = session.settings, session.line(line)
        steps.check_request(session, line, {k: v for k, v in changes.items() if k not in OF_THE_RUN})
    airflow = AirflowApi(settings.airflow)
    dag = airflow.await_dag(own.dag_id)
    if dag.get("is_paused"):
        airflow.unpause(own.dag_id)
    run_id = airflow.trigger(own.dag_id, _conf(changes, set(dag["params"])))
    order = airflow.order(own.dag_id)
    screen.print(f"night of [bold]{line}[/]: {settings.airflow.url}/dags/{own.dag_id}/runs/{run_id}")
    try:
        with _Watch(order, lambda task: _question(airflow, settings.airflow.url, own.dag_id, run_id, task)) as watch:
            airflow.follow(own.dag_id, run_id, watch.update)
    except KeyboardInterrupt:
        screen.print("\nno longer following; the night goes on in Airflow. To end it, mark its run as failed there.")
        raise typer.Exit(130) from None
    return _report(airflow, own.dag_id, run_id, line, order)


def _question(airflow: AirflowApi, url: str, dag_id: str, run_id: str, task_id: str) -> str:
    """What to tell the operator when a night begins to wait for a person."""
    verdict = airflow.xcom(dag_id, run_id, "decide_verdict") or {}
    report = f"{url}/nightscope/verdicts/{verdict.get('verdict_id')}/report"
    return (
        f"waiting for a person's approval: {url}/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/required_actions\n"
        f"  the report: {report}\n  the night goes on by itself once it is answered; Ctrl-C only ends following it"
    )


def _conf(changes: dict[str, Any], fields: set[str]) -> dict[str, Any]:
    """Values that have a field of their own go there, the rest are recipe values."""
    conf = {key: value for key, value in changes.items() if key in fields}
    rest = {key: value for key, value in changes.items() if key not in fields}
    return conf | ({"recipe_values": rest} if rest else {})


def _report(airflow: AirflowApi, dag_id: str, run_id: str, line: str, order: list[str]) -> dict[str, Any]:
    from tasks import operations

    instances = airflow.task_instances(dag_id, run_id)
    ended = [
        {"name": name, "state": instances[name]["state"], "seconds": _seconds(instances[name])}
        for name in order
        if name in instances
    ]
    left = {
        name: airflow.xcom(dag_id, run_id, name) for name in order if instances.get(name, {}).get("state") == "success"
    }
    training = left.get("train_challenger") or {}
    verdict = left.get("decide_verdict") or {}
    state, reason = _outcome(airflow, dag_id, run_id, ended, verdict, left.get("promote_model"))
    validation = left.get("validate_labels") or {}
    with open_session() as session:
        recordings = [dump(item) for item in operations.quarantined_recordings(session, line)]
    quarantined = [*recordings, *validation.get("quarantined", [])]
    return {
        "line": line,
        "state": state,
        "reason": reason,
        "dataset_version": left.get("freeze_dataset"),
        "mlflow_run": training.get("mlflow_run"),
        "model_version": training.get("model_version"),
        "steps": ended,
        # What validation has set aside tonight stands in the lake's quarantine by now, too.
        "quarantined": list({(item["what"], item["reason"]): item for item in quarantined}.values()),
        "verdict": verdict or None,
        "approval": left.get("approve_promotion"),
        "run_id": run_id,
    }


def _outcome(
    airflow: AirflowApi, dag_id: str, run_id: str, ended: list[dict[str, Any]], verdict: dict[str, Any], promotion: Any
) -> tuple[str, str]:
    """The night's state and reason: of the step that stopped it, else of its verdict."""
    for step in ended:
        if step["state"] == "failed" or (step["state"] == "skipped" and not verdict):
            outcome = airflow.xcom(dag_id, run_id, step["name"], "outcome") or {}
            state = "failed" if step["state"] == "failed" else "skipped"
            return outcome.get("state", state), outcome.get("reason", f"step {step['name']} {state} without a word")
    if not verdict:
        return NightState.FAILED, "the run ended without a verdict"
    state = ENDINGS[Decision(verdict["verdict"])]
    reason = " ".join(verdict["reasons"])
    if state == NightState.PROMOTED and not promotion:  # a dry run, a person's word, or carried out before
        outcome = airflow.xcom(dag_id, run_id, "promote_model", "outcome") or {}
        return NightState.HELD, outcome.get("reason") or reason
    differs = promotion.get("differs") if isinstance(promotion, dict) else None
    return state, f"{differs} {reason}" if differs else reason


def _seconds(instance: dict[str, Any]) -> float | None:
    duration = instance.get("duration")
    return round(duration, 2) if duration is not None else None


class _Watch:
    """The steps of a run, live on stderr; where stderr is no terminal, a line per change and per quarter minute."""

    HEARTBEAT_S = 15.0

    def __init__(self, order: list[str], question: Callable[[str], str]) -> None:
        self._order = order
        self._question = question
        self._asked: set[str] = set()
        self._last: dict[str, str] = {}
        self._spoke_at = time.monotonic()
        self._live = Live(console=screen, refresh_per_second=8, transient=True) if screen.is_terminal else None

    def __enter__(self) -> _Watch:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()
            for name in self._order:
                screen.print(f" {MARKS.get(self._last.get(name, ''), ' ')} {name}")

    def update(self, instances: dict[str, dict[str, Any]], words: str) -> None:
        """Show where the run stands; `words` is the last line of the running step's log."""
        if self._live:
            self._live.update(self._table(instances, words))
        for name in self._order:
            state = (instances.get(name) or {}).get("state") or "waiting"
            if self._live is None and state != self._last.get(name) and state != "waiting":
                took = _took(instances[name]) if state == "success" else ""
                self._say(f"  {name}: {state} {took}")
            self._last[name] = state
            if state == "awaiting_input" and name not in self._asked:
                self._asked.add(name)
                self._say(f"[bold yellow]?[/] {escape(self._question(name))}")
        if self._live is None and words and time.monotonic() - self._spoke_at > self.HEARTBEAT_S:
            self._say(f"    [dim]{escape(words[:140])}[/]")

    def _say(self, text: str) -> None:
        screen.print(text)
        self._spoke_at = time.monotonic()

    def _table(self, instances: dict[str, dict[str, Any]], words: str) -> Table:
        grid = Table.grid(padding=(0, 1))
        for name in self._order:
            instance = instances.get(name) or {}
            state = instance.get("state") or ""
            mark = Spinner("dots") if state == "running" else MARKS.get(state, " ")
            tries = f"[yellow]try {instance['try_number']}[/] " if instance.get("try_number", 0) > 1 else ""
            note = escape(words[: max(20, screen.width - 50)]) if state == "running" else ""
            grid.add_row(mark, name, f"[dim]{state}[/]", _took(instance), f"{tries}[dim]{note}[/]")
        return grid


def _took(instance: dict[str, Any]) -> str:
    seconds = _seconds(instance)
    if seconds is None and instance.get("start_date"):
        seconds = (now() - datetime.fromisoformat(instance["start_date"])).total_seconds()
    return f"[dim]{seconds:.0f} s[/]" if seconds is not None else ""


def show(report: dict[str, Any]) -> None:
    """Print a night's report for a person."""
    colour = {"promoted": "green", "failed": "red", "rejected": "red"}.get(report["state"], "yellow")
    paper.print(f"[bold {colour}]{report['state']}[/]: {escape(report['reason'])}")
    for key in ("dataset_version", "model_version", "mlflow_run"):
        if report[key]:
            paper.print(f"  [dim]{key.replace('_', ' ')}:[/] {report[key]}")
    if report["quarantined"]:
        paper.print(f"  [dim]in quarantine:[/] {len(report['quarantined'])}")
        for item in report["quarantined"][:20]:
            paper.print(escape(f"    {item['what']}: {item['reason']}"))
