"""The doctor itself: a check that breaks stops no other, no secret is shown, and every check has its place."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tasks.cli import app
from tasks.config import HOME
from tasks.errors import ConfigError
from tasks.operations.doctor import Finding, Patient, examine, findings, in_order
from tasks.operations.doctor.findings import PLACES, check, ok
from tasks.operations.doctor.settings import BESIDE_SETTINGS, known_names

SECRET = "a-secret-that-nobody-may-see"


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "CHECKS", [])

    @check("s3.broken")
    def _breaks(patient: Patient) -> Iterator[Finding]:
        """Breaks."""
        yield ok("so far")
        raise RuntimeError(f"no {SECRET}\nat all")

    @check("settings.sound")
    def _is_sound(patient: Patient) -> Iterator[Finding]:
        """Is sound."""
        yield ok("sound")


def test_a_check_that_breaks_stops_no_other(broken: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSCOPE_S3__SECRET_KEY", SECRET)
    checkup = examine(Patient(tmp_path, os.environ))
    assert [(each.check, each.state) for each in checkup.findings] == [
        ("settings.sound", "ok"), ("s3.broken", "ok"), ("s3.broken", "unknown"),
    ]  # fmt: skip
    assert checkup.findings[-1].found == "could not be looked at: RuntimeError: no *** at all"
    assert not checkup.healthy, "what could not be looked at is not well"


def test_every_check_has_a_place_a_name_of_its_own_and_a_sentence() -> None:
    names = [each.name for each in in_order()]
    assert len(set(names)) == len(names) > 30
    assert {name.partition(".")[0] for name in names} == set(PLACES)
    assert all(each.about.endswith(".") for each in in_order())


def test_an_unknown_check_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no check s4"):
        examine(Patient(tmp_path, {}), ["s4"])


def test_every_variable_that_the_code_names_is_known() -> None:
    known, open_ended = known_names()
    sources = [*(HOME / "tasks").rglob("*.py"), *(HOME / "plugins").rglob("*.py")]
    named = {name for path in sources for name in re.findall(r"NIGHTSCOPE_[A-Z0-9_]*[A-Z0-9]", path.read_text())}
    prefixes = {name.rpartition("__")[0] for name in known} | {"NIGHTSCOPE_S3"}
    strange = {name for name in named if name not in known | BESIDE_SETTINGS | prefixes}
    assert {name for name in strange if not name.startswith(open_ended)} <= {"NIGHTSCOPE_S3__ENDPOIN"}


def test_the_command_says_what_is_wrong_and_ends_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSCOPE_STATE_DIR", str(tmp_path))
    tmp_path.chmod(0o755)
    done = CliRunner().invoke(app, ["doctor", "state.folder", "settings"])
    assert done.exit_code == 1 and f"chmod 700 {tmp_path}" in done.stdout
    tmp_path.chmod(0o700)
    done = CliRunner().invoke(app, ["doctor", "state.folder", "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["healthy"] is True
