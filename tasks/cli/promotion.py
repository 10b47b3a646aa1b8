"""`nightscope promote` and `rollback`: put a model in charge by hand, in a second, recorded as evidence."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer

from tasks.cli.output import AsJson, Line, dump, escape, paper, print_json
from tasks.session import Session, open_session

if TYPE_CHECKING:
    from tasks.operations.manual_promotion import ManualPromotion

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
    from tasks import operations
    from tasks.operations.who import os_user

    _change(
        lambda session: operations.promote_version(session, line, to, by=os_user(), note=note, override=override), json_
    )


def rollback(
    line: Line,
    to: Annotated[
        str | None, typer.Option("--to", metavar="VERSION", help="Default: the one before the champion.")
    ] = None,
    note: Note = "",
    json_: AsJson = False,
) -> None:
    """Put the model that was in charge of LINE before back in charge; takes a second, and is recorded."""
    from tasks import operations
    from tasks.operations.who import os_user

    _change(lambda session: operations.roll_back(session, line, to, by=os_user(), note=note), json_)


def _change(promote: Callable[[Session], ManualPromotion], json_: bool) -> None:
    with redirect_stdout(sys.stderr), open_session() as session:
        promotion = dump(promote(session))
    if json_:
        print_json(promotion)
        return
    before = f"version {promotion['before']}" if promotion["before"] else "nobody"
    paper.print(
        f"[bold]{promotion['line']}[/]: version [bold]{promotion['model_version']}[/] is in charge, "
        f"until now it was {before}"
    )
    paper.print(f"  [dim]evidence:[/] {promotion['evidence']}, by {escape(promotion['by'])}{_noted(promotion['note'])}")
    if promotion["undo"]:
        paper.print(f"  [dim]to undo:[/] {promotion['undo']}")


def _noted(note: str) -> str:
    return f": {escape(note)}" if note else ""
