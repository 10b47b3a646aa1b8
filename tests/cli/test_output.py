"""What comes from outside never commands the terminal, whichever way it is printed."""

from __future__ import annotations

import io
import json
import sys

import pytest
from rich.live import Live
from rich.text import Text

from tasks.cli.output import Careful, CarefulConsole, escape, paper, print_json, show_error, table
from tasks.errors import DataError
from tasks.escaping import visible

HOSTILE = "a\x1b[2J\x1b]8;;http://evil.test\x07\x9b31m\u202egpj\r[link=http://evil.test]b[/link]\nerror: forged"


def test_errors_tables_and_lines_are_spelled_out(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(DataError(HOSTILE, expected=HOSTILE, found=HOSTILE, fix=HOSTILE))
    rows = table("t", HOSTILE)
    rows.add_row(escape(HOSTILE))
    rows.add_row(HOSTILE)  # somebody forgot
    paper.print(rows)
    paper.print(HOSTILE)
    paper.print(HOSTILE, markup=False)
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert visible(text) == text and r"\x1b[2J" in text and r"\u202e" in text


def test_no_markup_becomes_a_link_on_a_terminal() -> None:
    sink = io.StringIO()
    console = CarefulConsole(file=sink, force_terminal=True, color_system="truecolor", width=100)
    console.print("[bold]x[/] [link=http://evil.test]here[/link]")
    console.print(Text("there", style="link http://evil.test"))
    assert "evil.test" not in sink.getvalue() and "\x1b]8" not in sink.getvalue()
    assert "\x1b[1m" in sink.getvalue(), "rich's own styles still work"


def test_progress_still_moves_the_cursor_itself() -> None:
    sink = io.StringIO()
    console = CarefulConsole(file=sink, force_terminal=True, width=100)
    with Live("one", console=console, transient=True) as live:
        live.update(f"two {HOSTILE}", refresh=True)
    assert "\x1b[2K" in sink.getvalue() and "\x1b[2J" not in sink.getvalue() and "\x9b" not in sink.getvalue()


def test_a_forged_line_stays_in_its_own() -> None:
    assert "\n" not in escape(HOSTILE) and r"\nerror: forged" in escape(HOSTILE)


def test_json_is_the_same_document_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"key": HOSTILE, "µ": "\x9b\u202e"})
    text = capsys.readouterr().out
    assert json.loads(text) == {"key": HOSTILE, "µ": "\x9b\u202e"} and visible(text) == text


def test_what_steps_and_libraries_print_is_careful_too(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = io.StringIO()
    monkeypatch.setattr(sys, "stdout", Careful(sink))
    print(f"ingested {HOSTILE}")
    paper.print("[bold]bold[/]")
    assert r"ingested a\x1b[2J" in sink.getvalue() and visible(sink.getvalue()) == sink.getvalue()
    assert sys.stdout.isatty() is False
