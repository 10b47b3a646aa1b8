"""A person's word on who is in charge: `promote`, `rollback`. Both take a second and are recorded as evidence."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Annotated, Any

import typer

from tasks.cli.output import AsJson, Line, escape, paper, print_json

Note = Annotated[str, typer.Option("--note", help="Why; kept in the evidence.")]


def promote(
    line: Line,
    to: Annotated[
        str | None, typer.Option("--to", metavar="VERSION", help="Who takes charge; default the newest challenger.")
    ] = None,
    note: Note = "",
    override: Annotated[
        bool,
        typer.Option("--override", help="Even if its verdict, or what became of it, speaks against it; needs --note."),
    ] = False,
    json_: AsJson = False,
) -> None:
    """Put a version of LINE's model in charge because you say so; your name and the note go into the evidence."""
    from tasks import steps
    from tasks.steps.who import os_user

    _give(lambda: steps.promote_version(line, to, by=os_user(), note=note, override=override), json_)


def rollback(
    line: Line,
    to: Annotated[
        str | None, typer.Option("--to", metavar="VERSION", help="Default: the one before the champion.")
    ] = None,
    note: Note = "",
    json_: AsJson = False,
) -> None:
    """Put the model that was in charge of LINE before back in charge; takes a second, and is recorded."""
    from tasks import steps
    from tasks.steps.who import os_user

    _give(lambda: steps.roll_back(line, to, by=os_user(), note=note), json_)


def _give(order: Callable[[], dict[str, Any]], json_: bool) -> None:
    with redirect_stdout(sys.stderr):
        told = order()
    if json_:
        print_json(told)
        return
    before = f"version {told['before']}" if told["before"] else "nobody"
    paper.print(
        f"[bold]{told['line']}[/]: version [bold]{told['model_version']}[/] is in charge, until now it was {before}"
    )
    paper.print(f"  [dim]evidence:[/] {told['evidence']}, by {escape(told['by'])}{_noted(told['note'])}")
    if told["undo"]:
        paper.print(f"  [dim]to undo:[/] {told['undo']}")


def _noted(note: str) -> str:
    return f": {escape(note)}" if note else ""
