"""Every command that a page shows exists, with the options that it shows."""

from __future__ import annotations

import re
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from tasks.cli import app
from tasks.config import HOME
from tests.docs.texts import TEXTS, code_spans, mentioned_commands, name_of, script, shown_commands

GROUP: Any = get_command(app)
COMMANDS: dict[str, Any] = dict(script().walk(GROUP, "nightscope"))
PLACEHOLDER = re.compile(r"[A-Z|_]+|\.\.\.")


def find(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words name, and the words after its name; None for a group, or for a placeholder in one."""
    command, rest = GROUP, list(words)
    while hasattr(command, "commands"):
        if not rest or rest[0] in ("-h", "--help") or PLACEHOLDER.fullmatch(rest[0]):
            return None, rest
        if rest[0] not in command.commands and getattr(command, "default_command", None):
            rest.insert(0, command.default_command)
        assert rest[0] in command.commands, f"no such command: nightscope {' '.join(words)}"
        command = command.commands[rest.pop(0)]
    return command, rest


def options(command: Any) -> set[str]:
    return {"-h", "--help"} | {name for param in command.params for name in (*param.opts, *param.secondary_opts)}


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_every_line_to_type_is_understood(path) -> None:
    for words in shown_commands(path.read_text(), "nightscope"):
        command, rest = find(words)
        assert command is not None, f"nightscope {' '.join(words)}: is no whole command"
        try:
            command.make_context("nightscope", rest)
        except SystemExit:
            assert rest[-1] in ("-h", "--help")
        except Exception as error:
            pytest.fail(f"nightscope {' '.join(words)}: {error}")


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_every_command_in_a_sentence_exists(path) -> None:
    for words in mentioned_commands(path.read_text(), "nightscope"):
        command, rest = find(words)
        given = {word.partition("=")[0] for word in rest if word.startswith("-") and word.strip("-")}
        assert command is None or given <= options(command), f"nightscope {' '.join(words)}"


def test_the_readmes_table_names_commands_with_their_options() -> None:
    rows = re.findall(r"^\| (`[^|\n]*?`[^|\n]*(?:\\\|[^|\n]*)*) \| (.*) \|$", _table(), re.M)
    assert len(rows) > 15
    for names, text in rows:
        found = [find(re.sub(r"[\[\]]", "", span.replace("\\|", "|")).split()) for span in code_spans(names)]
        known = set().union(*(options(command) for command, _ in found if command is not None))
        for _, rest in found:
            assert {word for word in rest if word.startswith("--")} <= known, names
        assert {span.split()[0] for span in code_spans(text) if span.startswith("--")} <= known | {"--set"}, names


def _table() -> str:
    readme = (HOME / "README.md").read_text()
    return readme.split("| command | does |")[1].split("\n\n")[0]


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_help(path: str) -> None:
    shown = CliRunner().invoke(app, [*path.split()[1:], "--help"])
    assert shown.exit_code == 0 and "Usage" in shown.output, shown.output


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_every_make_target_exists(path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (HOME / "Makefile").read_text(), re.M))
    text = path.read_text()
    for words in (*shown_commands(text, "make"), *mentioned_commands(text, "make")):
        assert not words or words[0] in targets, f"make {' '.join(words)}"


def test_a_wrong_line_is_found() -> None:
    text = "```console\n$ nightscope audit x --nonsense\n```\nand `nightscope nonsense`"
    (words,) = shown_commands(text, "nightscope")
    command, rest = find(words)
    assert "--nonsense" not in options(command) and rest == ["x", "--nonsense"]
    with pytest.raises(AssertionError):
        find(next(mentioned_commands(text, "nightscope")))
