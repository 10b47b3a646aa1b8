"""TensorBoard over a line's trainings: what stands in its way is said before anything starts."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import ConfigError, NotFound
from tasks.operations.tensorboard import show_trainings
from tasks.session import Session, open_session
from tasks.training import event_files


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """One line, a state folder, and tensorboard as if it were installed."""
    lines = tmp_path / "lines"
    lines.mkdir()
    (lines / "cells.yaml").write_text(
        "line: cells\nkind: detection\nclasses: [cell]\nrecipe: {name: any}\ngates: [{metric: AP50, at_least: 0.5}]\n"
    )
    monkeypatch.setenv("NIGHTSCOPE_LINES_DIR", str(lines))
    monkeypatch.setenv("NIGHTSCOPE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(event_files, "installed", lambda: True)
    return open_session()


def leave_files(session: Session, line: str = "cells") -> Path:
    folder = event_files.folder_of(session.settings.state_dir.resolve(), line)
    (folder / "run-1").mkdir(parents=True)
    (folder / "run-1" / "events.out.tfevents.1.x").write_bytes(b"")
    return folder


def test_it_listens_on_the_loopback_interface_alone_and_looks_at_the_line_alone(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[Any] = []
    monkeypatch.setattr(os, "execv", lambda program, command: became.append((program, command)))
    folder = leave_files(session)
    leave_files(session, "other")
    show_trainings(session, "cells", 0)
    ((program, command),) = became
    assert program == command[0] and command[1:4] == ["-P", "-m", "tensorboard.main"]
    options = dict(zip(command[4::2], command[5::2], strict=True))
    assert options["--host"] == "127.0.0.1" and options["--logdir"] == str(folder) and options["--port"] == "0"


def test_what_is_missing_is_named(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound, match="no training has left files"):
        show_trainings(session, "cells", 0)
    leave_files(session)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match=r"is taken.*--port"):
            show_trainings(session, "cells", taken.getsockname()[1])
    monkeypatch.setattr(event_files, "installed", lambda: False)
    with pytest.raises(ConfigError, match=r"tensorboard is not installed.*to fix: install it"):
        show_trainings(session, "cells", 0)
    with pytest.raises(ConfigError, match="no such line"):
        show_trainings(session, "sells", 0)
