"""`nightscope query` from a shell: a table for people, JSON for scripts, nothing that commands the terminal."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tasks.cli import app
from tasks.errors import ConfigError
from tasks.lake import Lake
from tests.lake.nouns import frame, item
from tests.services import use_external_s3


@pytest.fixture
def here(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Lake:
    use_external_s3(lake.settings.state_dir, lake.settings.s3)
    monkeypatch.setenv("NIGHTSCOPE_STATE_DIR", str(lake.settings.state_dir))
    return lake


def test_rows_as_a_table_and_as_json(here: Lake) -> None:
    here.tables.append("frames", [frame(n, line) for n in range(3) for line in ("a-line", "b-line")])
    sql = "SELECT line, count(*) AS frames, max(taken_at) AS newest FROM frames GROUP BY 1 ORDER BY 1"
    shown = CliRunner().invoke(app, ["query", sql]).stdout
    assert "2 rows" in shown and "a-line" in shown
    answer = json.loads(CliRunner().invoke(app, ["query", sql, "--line", "b-line", "--json"]).stdout)
    assert answer == [{"line": "b-line", "frames": 3, "newest": "2026-11-20T02:00:00.123456+00:00"}]
    assert "the first 1" in CliRunner().invoke(app, ["query", sql, "--limit", "1"]).stdout


def test_what_came_from_outside_does_not_command_the_terminal(here: Lake) -> None:
    here.tables.append("quarantine", [item(1).model_copy(update={"subject": "\x1b]0;owned\x07[bold]clip"})])
    shown = CliRunner().invoke(app, ["query", "SELECT subject FROM quarantine"]).stdout
    assert "\x1b]0" not in shown and "[bold]clip" in shown


def test_what_is_no_query_is_an_error(here: Lake) -> None:
    done = CliRunner().invoke(app, ["query", "DROP TABLE frames"])
    assert isinstance(done.exception, ConfigError) and "one SELECT" in str(done.exception)
