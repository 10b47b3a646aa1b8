"""`nightscope explore`: what a dataset version looks like."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from tasks.cli.output import AsJson, Line, dump, escape, paper, print_json
from tasks.errors import ConfigError
from tasks.session import open_session


def explore(
    line: Line,
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", metavar="VERSION", help="Which, by its first digits; default the newest version."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The report; default ./LINE-exploration.html.")
    ] = None,
    json_: AsJson = False,
) -> None:
    """Show what LINE's data look like: balance, groups, sizes, brightness, samples, duplicates, labels to check.

    Each night keeps this page beside its dataset version; frames that were looked at before cost nothing.
    """
    from tasks import operations

    with redirect_stdout(sys.stderr), open_session() as session:
        explored, page = operations.explore_line(session, line, dataset)
    path = out or Path(f"{line}-exploration.html")
    try:
        path.write_bytes(page)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}", fix="say --out") from error
    found = dump(explored) | {"report": str(path.resolve())}
    if json_:
        print_json(found)
        return
    labels = ", ".join(f"{name} {count:,}" for name, count in found["labels"].items())
    paper.print(f"[bold]{line}[/]: {found['frames']:,} frames of {found['groups']:,} groups; labels: {escape(labels)}")
    for note in found["notes"]:
        paper.print(f"  [bold yellow]mind:[/] {escape(note)}")
    paper.print(f"  twice: {found['exact_duplicates']:,} the same file, {found['near_duplicates']:,} nearly the same")
    if found["labels_to_check"] is not None:
        paper.print(f"  labels to look at again: {found['labels_to_check']:,}")
    paper.print(escape(f"  report: {found['report']}"))
