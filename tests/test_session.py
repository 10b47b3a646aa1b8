"""A session reads the settings once, opens what is asked for, and closes what it has opened."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from tasks.config import Settings
from tasks.errors import ConfigError
from tasks.lake import Lake
from tasks.session import open_session

LINE = "sperm-detector"


def test_a_line_is_read_with_the_changes_of_a_run() -> None:
    session = open_session(Settings())
    assert session.line(LINE, {"seed": 4}).recipe.seed == 4 and session.line(LINE) == session.line(LINE, {})
    assert LINE in session.line_names()
    with pytest.raises(ConfigError, match="no-such-line"):
        session.line("no-such-line")


def test_what_is_opened_is_opened_once_and_nothing_can_be_swapped() -> None:
    session = open_session(Settings())
    assert session.lake is session.lake and session.lake.settings is session.settings
    with pytest.raises(FrozenInstanceError):
        session.settings = Settings()  # type: ignore[misc]


def test_the_environment_names_the_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSCOPE_STATE_DIR", str(tmp_path))
    with open_session() as session:
        assert session.settings.state_dir == tmp_path
        monkeypatch.setenv("NIGHTSCOPE_STATE_DIR", str(tmp_path / "other"))
        assert session.lake.settings.state_dir == tmp_path, "settings are read once"


def _connections(port: int) -> int:
    """How many connections this process has to a port of this machine."""
    import psutil

    found = psutil.Process(os.getpid()).net_connections(kind="tcp")
    return sum(1 for each in found if each.raddr and each.raddr.port == port and each.status == "ESTABLISHED")


def test_a_closed_session_leaves_no_connection_and_can_be_used_again(settings: Settings, lake: Lake) -> None:
    lake.close()
    gc.collect()  # other tests' lakes
    port = int(settings.s3.endpoint.rpartition(":")[2])
    before = _connections(port)
    with open_session(settings) as session:
        oid = session.lake.blobs.put_json({"b": 1, "a": [2]})
        assert _connections(port) > before
    assert _connections(port) <= before
    assert session.lake.store.get_json(session.lake.blobs.key(oid)) == {"a": [2], "b": 1}
    session.close()
    assert _connections(port) <= before


def test_a_session_imports_nothing_heavy_before_it_is_used() -> None:
    script = (
        "import sys; from tasks.session import open_session; session = open_session(); session.lake;"
        "session.line('sperm-detector');"
        "heavy = {'torch', 'mlflow', 'minio', 'pyiceberg', 'pyarrow', 'great_expectations'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
