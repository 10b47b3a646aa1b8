"""One line's mistake is not another line's."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tasks import steps
from tasks.config import HOME
from tasks.errors import ConfigError
from tasks.lake import Lake, gc
from tasks.session import open_session


@pytest.fixture
def broken_neighbour(installed: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """Two lines, the file of one of which is wrong."""
    lines = tmp_path / "lines"
    lines.mkdir()
    shipped = (HOME / "dags/lines/sperm-detector.yaml").read_text()
    (lines / "good.yaml").write_text(shipped.replace("line: sperm-detector", "line: good"))
    (lines / "bad-line.yaml").write_text("line: bad-line\nkind: telepathy\n")
    monkeypatch.setenv("NIGHTSCOPE_LINES_DIR", str(lines))
    return installed


def test_a_broken_line_keeps_nobody_elses_recordings_waiting(
    broken_neighbour: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    assert steps.list_lines(open_session()) == ["good"]
    assert "bad-line" in caplog.text
    assert steps.ingest_recordings(open_session()).quarantined == ()


def test_nothing_is_collected_while_a_line_may_name_weights_that_we_cannot_read(broken_neighbour: Lake) -> None:
    with pytest.raises(ConfigError, match="bad-line"):
        steps.collect_garbage(open_session())


def test_weights_that_a_line_starts_from_or_learns_from_are_kept(
    installed: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, teacher, loose = installed.blobs.put_many([b"weights", b"a teacher's", b"left by a crash"])
    shipped = (HOME / "dags/lines/sperm-detector.yaml").read_text()
    recipe = f"recipe: {{name: detection-from-coco, weights: {weights}, teacher: {teacher}}}"
    kept = [recipe if line.startswith("recipe:") else line for line in shipped.splitlines()]
    (tmp_path / "sperm-detector.yaml").write_text("\n".join(kept))
    monkeypatch.setenv("NIGHTSCOPE_LINES_DIR", str(tmp_path))
    monkeypatch.setitem(gc.collect.__kwdefaults__, "grace", -timedelta(minutes=1))
    assert steps.collect_garbage(open_session()).removed == 1
    assert installed.blobs.exists(weights) and installed.blobs.exists(teacher) and not installed.blobs.exists(loose)
