"""How commands speak: reports on stdout, progress and errors on stderr.

Keys, names, notes and tags come from outside. Whatever is printed goes through `CarefulConsole` or, printed by other
means, through `Careful`: a control character, a turned text or a link in it never reaches the terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from pydantic import BaseModel
from rich import markup
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

from tasks.errors import ConfigError, NightscopeError, TransportError
from tasks.escaping import json_safe, one_line, visible


class CarefulConsole(Console):
    """A console whose texts cannot command the terminal: only rich's own control sequences do."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Every piece of text, spelled out where it cannot be printed, and without hyperlinks."""
        for text, style, control in super().render(renderable, options):
            if control is None:
                yield Segment(visible(text), style.update_link(None) if style and style.link else style)
            else:
                yield Segment(text, style, control)


class Careful:
    """A text stream for `print`, tracebacks and libraries, from which no control character gets to the terminal.

    rich writes past it (`rich_proxied_file` is rich's own name for that): its consoles are careful themselves.
    """

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        """Write `text` as it may be seen."""
        self.rich_proxied_file.write(visible(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write lines as they may be seen."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def careful_streams() -> None:
    """Put `Careful` before stdout and stderr; also where they are pipes, whose other end is a terminal often enough."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, Careful):
            setattr(sys, name, Careful(stream))


def escape(text: str) -> str:
    """Text from outside for a cell or a line: no markup, no control character, no line break."""
    return markup.escape(one_line(text))


screen = CarefulConsole(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 160)
paper = CarefulConsole(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout, for scripts.")]
Line = Annotated[str, typer.Argument(metavar="LINE", help="The model line, e.g. sperm-detector.")]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a value for this run: recipe, seed, epochs, gate.<id>, ..."
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option("--dataset", metavar="VERSION", help="Whose frames, by its first digits; default the newest version."),
]


def check_writable(path: Path | None, option: str) -> None:
    """Refuse a file's path before long work whose result is to be written there.

    Raises:
        ConfigError: Its folder is not there, or it is a folder itself.
    """
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        found = "a folder" if path.is_dir() else f"no folder {path.parent}"
        raise ConfigError(f"{option} {path}: cannot be written", expected="a file in a folder that is there",
                          found=found, fix="name another file, or make the folder")  # fmt: skip


def print_json(value: Any) -> None:
    """Print one JSON document; dates as ISO 8601."""
    print(json_safe(json.dumps(value, indent=2, ensure_ascii=False, default=_plain)))


def dump(result: BaseModel) -> dict[str, Any]:
    """Turn a typed result into what JSON can hold."""
    return result.model_dump(mode="json")


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
