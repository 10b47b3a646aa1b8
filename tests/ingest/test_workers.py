from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from tasks.ingest.formats import Format
from tasks.ingest.reading import Job
from tasks.ingest.sampling import Rate
from tasks.ingest.workers import Workers
from tests.ingest.clips import write_clip

pytestmark = pytest.mark.integration  # decodes at length


def job(clip: Path, folder: Path) -> Job:
    folder.mkdir(exist_ok=True)
    return Job(str(clip), Format.MP4, str(folder), rates={"line": Rate(0.5, 60, 2)})


def test_one_worker_reads_many(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("text")
    with Workers() as workers:
        first = workers.read(job(write_clip(tmp_path / "a.mp4", 30), tmp_path / "1"))
        bad = workers.read(job(tmp_path / "bad.mp4", tmp_path / "2"))
        second = workers.read(job(write_clip(tmp_path / "b.mp4", 40), tmp_path / "3"))
        assert len(psutil.Process().children()) >= 1
    assert first.media is not None and first.media.frames_decoded == 30
    assert [frame.frame_index for frame in first.frames] == first.kept["line"] == [0, 15]
    assert bad.media is None and "plain text" in str(bad.reason)
    assert second.media is not None and second.media.frames_decoded == 40


def test_a_crash_costs_one_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The decoder is made to crash by a `sitecustomize` in the worker that kills it when it opens a certain file."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, pathlib, signal\n"
        "opened = pathlib.Path.open\n"
        "def crashing(self, *a, **k):\n"
        "    if self.name == 'crash.mp4': os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    return opened(self, *a, **k)\n"
        "pathlib.Path.open = crashing\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    clip = write_clip(tmp_path / "a.mp4", 10)
    write_clip(tmp_path / "crash.mp4", 10)
    with Workers() as workers:
        crashed = workers.read(job(tmp_path / "crash.mp4", tmp_path / "1"))
        after = workers.read(job(clip, tmp_path / "2"))
    assert crashed.media is None and "crashed" in str(crashed.reason) and "SIGSEGV" in str(crashed.reason)
    assert after.media is not None


def test_workers_die_with_a_killed_parent(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 10)
    (tmp_path / "1").mkdir()
    code = (
        "import sys, time; from tasks.ingest.workers import Workers; from tests.ingest.test_workers import job;"
        "from pathlib import Path; w = Workers(); w.read(job(Path(sys.argv[1]), Path(sys.argv[2])));"
        "print(w._started[0].pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, clip, tmp_path / "1"], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))
    assert worker.is_running()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


def test_what_lies_in_the_current_folder_does_not_take_our_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder `tasks` is a common thing to have, and every recording would go to quarantine as crashing."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "__init__.py").touch()
    (tmp_path / "numpy.py").write_text("raise SystemExit('not me')")
    monkeypatch.chdir(tmp_path)
    with Workers() as workers:
        outcome = workers.read(job(write_clip(tmp_path / "a.mp4", 10), tmp_path / "1"))
    assert outcome.reason is None


def test_workers_hold_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSCOPE_S3__SECRET_KEY", "secret")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "secret")
    monkeypatch.setenv("NIGHTSCOPE_STACK", "mark")
    with Workers() as workers:
        workers.read(job(write_clip(tmp_path / "a.mp4", 10), tmp_path / "1"))
        (worker,) = workers._started
        environment = psutil.Process(worker.pid).environ()
    assert "secret" not in environment.values() and environment["NIGHTSCOPE_STACK"] == "mark"


def test_side_by_side(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 10)
    results = []
    with Workers() as workers:

        def work(number: int) -> None:
            results.append(workers.read(job(clip, tmp_path / str(number))))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [outcome.reason for outcome in results] == [None] * 3
