"""How commands speak: reports on stdout, progress and errors on stderr."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tasks.errors import NightscopeError, TransportError

screen = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 160)
paper = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout, for scripts.")]
Line = Annotated[str, typer.Argument(metavar="LINE", help="The model line, e.g. sperm-detector.")]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a value for this run: recipe, seed, epochs, gate.<id>, ..."
    ),
]


def print_json(value: Any) -> None:
    """Print one JSON document; dates as ISO 8601."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return str(value)


def show_error(error: NightscopeError) -> None:
    """Print an error as a person wants it: what, expected, found, to fix."""
    screen.print(f"[bold red]error:[/] {escape(error.thing)}")
    fix = error.fix
    if isinstance(error, TransportError):
        fix = "`nightscope status` tells what is up, `nightscope up` starts the embedded stack"
    for name, text in (("expected", error.expected), ("found", error.found), ("to fix", fix)):
        if text is not None:
            screen.print(f"  [dim]{name}:[/] {escape(text)}")


def table(title: str, *columns: str) -> Table:
    """A plain table in the house style."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="dim")
    for column in columns:
        made.add_column(column)
    return made


def parse_changes(pairs: list[str] | None) -> dict[str, Any]:
    """Turn `--set key=value ...` into a dict; values are YAML scalars, so that `true`, `3`, `0.5` mean what they say.

    Raises:
        ConfigError: Naming every pair that is none.
    """
    from tasks.small_yaml import read_yaml

    bad = [pair for pair in pairs or [] if "=" not in pair or pair.startswith("=")]
    if bad:
        raise typer.BadParameter(f"--set {' '.join(bad)}: expected KEY=VALUE, e.g. --set epochs=30")
    made = {}
    for pair in pairs or []:
        key, _, text = pair.partition("=")
        made[key.strip()] = read_yaml(text, f"--set {key.strip()}")
    return made
