"""`nightscope up`, `down`, `status`: the embedded stack, and what lies in the lake."""

from __future__ import annotations

from typing import Any

from rich.progress import Progress, SpinnerColumn, TextColumn

from tasks.cli.output import AsJson, escape, paper, print_json, screen, table
from tasks.config import Settings, load_settings
from tasks.errors import NightscopeError
from tasks.stack.events import Event
from tasks.stack.layout import Layout
from tasks.stack.status import ServiceStatus

COLOURS = {"running": "green", "external": "green", "starting": "yellow", "backoff": "yellow"}


def up(json_: AsJson = False) -> None:
    """Start the embedded stack on 127.0.0.1 and wait until all of it is healthy."""
    services = start_with_progress()
    settings = load_settings()
    if json_:
        print_json({"services": [service.report() for service in services]})
    else:
        paper.print(where_things_are(settings))


def start_with_progress() -> list[ServiceStatus]:
    """`tasks.stack.up.up`, told on stderr: a live list on a terminal, a line per change elsewhere."""
    from tasks.stack.up import up as start

    with _Told() as told:
        return start(load_settings().state_dir, on_event=told)


def down() -> None:
    """Stop the embedded stack: every process of it, also after a crash. What it stored stays."""
    from tasks.stack.down import down as stop

    with _Told() as told:
        ended = stop(load_settings().state_dir, on_event=told)
    paper.print(f"stopped: {', '.join(ended)}" if ended else "nothing was running")


def stop_quietly() -> None:
    """Stop the stack of the current state folder without telling."""
    from tasks.stack.down import down as stop

    stop(load_settings().state_dir)


def status(json_: AsJson = False) -> None:
    """Say what is up, where, since when, and what the lake holds. Exit code 0 also when nothing is up."""
    from tasks.stack.status import status as look

    settings = load_settings()
    services = look(settings.state_dir)
    lake = count_lake(settings)
    if json_:
        print_json({"services": [service.report() for service in services], "lake": lake})
        return
    rows = table("services", "name", "state", "url", "pid", "since")
    for service in services:
        colour = COLOURS.get(service.state, "red")
        since = service.since.strftime("%Y-%m-%d %H:%M:%S UTC") if service.since else ""
        rows.add_row(service.name, f"[{colour}]{service.state}[/]", service.url or "", str(service.pid or ""), since)
    paper.print(rows)
    counts = ", ".join(f"{name} {'?' if number is None else number}" for name, number in lake.items())
    paper.print(f"[dim]lake:[/] {counts}")
    paper.print(f"[dim]passwords:[/] {settings.state_dir / 'settings.env'} (mode 0600)")


def count_lake(settings: Settings) -> dict[str, Any]:
    """How much lies in the lake; None where it cannot be reached."""
    from tasks.lake import open_lake

    names = {"recordings": "recordings", "frames": "frames", "annotations": "annotations", "quarantined": "quarantine"}
    if not settings.s3.endpoint:
        return dict.fromkeys(names)
    try:
        tables = open_lake(settings).tables
        counts: dict[str, Any] = {name: tables.scan(where, columns=[KEYS[where]]) for name, where in names.items()}
    except NightscopeError:
        return dict.fromkeys(names)
    return {name: len(set(found.column(0).to_pylist())) for name, found in counts.items()}


KEYS = {"recordings": "recording_id", "frames": "oid", "annotations": "annotation_id", "quarantine": "item_id"}
"""What makes a row of each table one thing: revisions of an annotation are one annotation."""


def where_things_are(settings: Settings) -> str:
    """Addresses, users, and the file that holds the passwords: rich markup."""
    rows = [
        ("Airflow", settings.airflow.url, f"user {settings.airflow.username}"),
        ("Label Studio", settings.label_studio.url, f"user {settings.label_studio.username}"),
        ("MLflow", settings.mlflow.url, "user reader, to look at it"),
        ("S3", settings.s3.endpoint, f"buckets {settings.s3.landing_bucket}, {settings.s3.lake_bucket}"),
        ("passwords", str(settings.state_dir / "settings.env"), "mode 0600"),
    ]
    if settings.airflow.people:
        named = ", ".join(f"{name} ({role})" for name, role in settings.airflow.people.items())
        rows.append(("of people", str(Layout.at(settings.state_dir).airflow_passwords), f"for Airflow: {named}"))
    return "\n".join(f"[bold]{name:<13}[/]{escape(where):<30} [dim]{note}[/]" for name, where, note in rows)


class _Told:
    """Shows the stack's events as they come."""

    def __init__(self) -> None:
        self._progress = (
            Progress(SpinnerColumn(), TextColumn("{task.description}"), console=screen, transient=True)
            if screen.is_terminal
            else None
        )
        self._waiting: dict[str, Any] = {}

    def __enter__(self) -> _Told:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()

    def __call__(self, event: Event) -> None:
        line = f"{event.service:<22} {event.state} {event.note}".rstrip()
        busy = event.state in ("preparing", "starting")
        if self._progress and busy:
            if event.service in self._waiting:
                self._progress.update(self._waiting[event.service], description=escape(line))
            else:
                self._waiting[event.service] = self._progress.add_task(escape(line), total=None)
            return
        if self._progress and event.service in self._waiting:
            self._progress.remove_task(self._waiting.pop(event.service))
        mark = {"running": "[green]✓[/]", "external": "[green]✓[/]", "failed": "[red]✗[/]"}.get(
            event.state, "[dim]·[/]"
        )
        screen.print(f"  {mark} {escape(line)} [dim]{event.seconds:.0f} s[/]")
