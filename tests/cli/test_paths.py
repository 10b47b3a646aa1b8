"""A result's file that cannot be written is refused before the work is done."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tasks.cli import app
from tasks.cli.output import check_writable
from tasks.errors import ConfigError


@pytest.mark.parametrize(
    ("command", "option"), [(("search", "cells", "--space", "lr: [1]"), "--report"), (("train", "cells"), "--out")]
)
def test_a_path_without_a_folder_is_refused_first(tmp_path: Path, command: tuple[str, ...], option: str) -> None:
    found = CliRunner().invoke(app, [*command, option, str(tmp_path / "none" / "a.html")])
    said = " ".join((str(found.exception), found.output))
    assert found.exit_code != 0 and f"{option} {tmp_path}" in said.replace("\n", ""), said


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found a folder"):
        check_writable(tmp_path, "--out")
    check_writable(tmp_path / "a.html", "--out")
    check_writable(None, "--out")
