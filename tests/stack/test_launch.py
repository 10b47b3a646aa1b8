"""The launcher: ends what a killed predecessor left, then becomes the service."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tasks.stack.launch import retire_schedulers, wait_for
from tasks.stack.processes import end_marked, holds, marked


@contextmanager
def sleeper(marker: str, service: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process with the marks of a service, as an orphaned worker of a killed scheduler would be."""
    environment = {**os.environ, "NIGHTSCOPE_STACK": marker, "NIGHTSCOPE_SERVICE": service}
    process = subprocess.Popen([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(300)"],
                               env=environment, stdout=subprocess.PIPE)  # fmt: skip
    assert process.stdout
    process.stdout.readline()
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def launch(folder: Path, marker: str, service: str, *command: str) -> subprocess.CompletedProcess[str]:
    file = folder / "service.json"
    own = {"NIGHTSCOPE_STACK": marker, "NIGHTSCOPE_SERVICE": service, "GREETING": "hello"}
    file.write_text(json.dumps({"command": list(command), "environment": own}))
    return subprocess.run(
        [sys.executable, "-P", "-m", "tasks.stack.launch", str(file)], capture_output=True, text=True, check=False
    )


def test_becomes_the_service_with_its_environment(tmp_path: Path) -> None:
    done = launch(tmp_path, "m1", "a", sys.executable, "-c", "import os; print(os.environ['GREETING']); exit(7)")

    assert (done.stdout.strip(), done.returncode) == ("hello", 7)


def test_ends_leftovers_of_its_own_service_only(tmp_path: Path) -> None:
    with sleeper("m2", "scheduler") as old, sleeper("m2", "mlflow") as other, sleeper("m3", "scheduler") as foreign:
        launch(tmp_path, "m2", "scheduler", "true")

        assert old.wait(timeout=10) == -9
        assert other.poll() is None
        assert foreign.poll() is None


def test_dies_with_its_parent(tmp_path: Path) -> None:
    file = tmp_path / "service.json"
    own = {"NIGHTSCOPE_STACK": "m4", "NIGHTSCOPE_SERVICE": "a"}
    service = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(300)"]
    file.write_text(json.dumps({"command": service, "environment": own}))
    parent = subprocess.Popen(
        [sys.executable, "-c",
         "import subprocess, sys; subprocess.run([sys.executable, '-P', '-m', 'tasks.stack.launch', sys.argv[1]])",
         str(file)], stdout=subprocess.PIPE)  # fmt: skip
    assert parent.stdout
    child = psutil.Process(int(parent.stdout.readline()))

    parent.kill()
    parent.wait()

    child.wait(timeout=20)
    parent.stdout.close()


def test_marks_the_jobs_of_dead_schedulers(tmp_path: Path) -> None:
    path = tmp_path / "airflow.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE job (job_type TEXT, state TEXT)")
        rows = [("SchedulerJob", "running"), ("SchedulerJob", "success"), ("TriggererJob", "running")]
        connection.executemany("INSERT INTO job VALUES (?, ?)", rows)
    connection.close()

    assert retire_schedulers(path) == 1
    assert retire_schedulers(path) == 0
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT state FROM job").fetchall() == [("failed",), ("success",), ("running",)]
    connection.close()


def test_waits_for_a_port() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert not wait_for(port, 0.3)
        server.listen()
        assert wait_for(port, 5)


def test_marked_processes_are_found_and_ended() -> None:
    with sleeper("m5", "a") as first, sleeper("m5", "b") as second:
        assert {each.process.pid for each in marked("m5")} == {first.pid, second.pid}
        assert [each.process.pid for each in marked("m5", "b")] == [second.pid]
        assert end_marked("m5") == ["a", "b"]
        assert list(marked("m5")) == []


def test_we_are_never_among_the_marked() -> None:
    code = (
        "from tasks.stack.processes import marked; import subprocess, sys\n"
        "print([each.service for each in marked('m6')])"
    )
    environment = {**os.environ, "NIGHTSCOPE_STACK": "m6", "NIGHTSCOPE_SERVICE": "a"}

    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_a_neighbour_on_our_port_is_not_ours() -> None:
    with socket.socket() as neighbour:
        neighbour.bind(("127.0.0.1", 0))
        neighbour.listen()

        assert not holds(neighbour.getsockname()[1], "m7")
