"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.whole_files import written_whole

pytestmark = pytest.mark.unit


def test_a_file_appears_when_it_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "table.npy"
    with written_whole(path) as part:
        part.write_text("new")
        assert part.suffix == ".npy" and not path.exists()
    assert path.read_text() == "new" and list(path.parent.iterdir()) == [path]


def test_what_was_there_stays_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text("old")
    with pytest.raises(OSError, match="disk"), written_whole(path) as part:
        part.write_text("ne")
        raise OSError("the disk is full")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text("old")
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom tasks.whole_files import written_whole\n"
        "with written_whole(Path(sys.argv[1])) as part:\n    part.write_text('ne')\n    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
