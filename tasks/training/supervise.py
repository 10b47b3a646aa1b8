"""The step's end of a training: starts the worker, hears its events, and leaves no worker behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

from tasks.errors import StepFailed, StepKilled
from tasks.kind import Event, Job
from tasks.known_kinds import KINDS_DIR
from tasks.lake.fences import on_loss

PRIVATE = ("NIGHTSCOPE_", "AIRFLOW", "_AIRFLOW", "AWS_", "MLFLOW_", "LABEL_STUDIO")
"""Environment that the worker has no use for; some of it is secret."""

LARGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""Let glibc ask for large pages. A CPU's training gives every layer's memory back and asks for it anew, step by step,
and the kernel clears it page by page: with large ones a step of EfficientNet-Lite0 takes a fifth less CPU time, one of
`p3-small` 3 % less, in the same memory. Where a kernel or another C library has none, it is not looked at."""

TAIL_LINES = 15


def public_environment() -> dict[str, str]:
    """The environment of a subprocess that trains or exports: without secrets, but it must find its kind."""
    return {name: value for name, value in os.environ.items() if name == KINDS_DIR or not name.startswith(PRIVATE)}


class WorkerKilled(StepKilled):
    """The worker was ended by a signal (kill -9, out of memory). It can go on from its last checkpoint."""


def events(job: Job, log: Path) -> Generator[Event]:
    """Run the worker, and yield what it reports until it ends.

    Must be consumed in the thread that started it: the kernel ends the worker when that thread ends.

    Args:
        job: What to train. `job.folder` must exist.
        log: Where everything else that the worker prints goes; appended to.

    Raises:
        WorkerKilled: A signal ended it.
        StepFailed: It failed; with the end of its log.
    """
    job_file = job.folder / "job.json"
    job_file.write_text(job.model_dump_json())
    environment = LARGE_PAGES | public_environment()
    with log.open("ab") as output:
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "tasks.training.worker", str(job_file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd=job.folder,
            env=environment,
            text=True,
        )
    finished = False
    try:
        with on_loss(worker.kill):  # another machine may train it by now
            for line in worker.stdout or ():
                event: Event = json.loads(line)
                finished = finished or event["event"] == "finished"
                yield event
            code = worker.wait()
    finally:
        _end(worker)
    if code < 0:
        name = signal.Signals(-code).name
        raise WorkerKilled(
            f"training {job.run_key[:12]} was killed by {name}", found=tail(log), fix="look for lack of memory"
        )
    if code > 0 or not finished:
        raise StepFailed(f"training {job.run_key[:12]} failed (exit code {code})", found=tail(log), fix=f"see {log}")


def _end(worker: subprocess.Popen[str]) -> None:
    """End the worker, also when the step gives up in the middle."""
    if worker.poll() is None:
        worker.terminate()
        try:
            worker.wait(timeout=5)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
    if worker.stdout:
        worker.stdout.close()


def tail(log: Path) -> str:
    """The last lines of a log, progress bars left out."""
    lines = log.read_text(errors="replace").replace("\r", "\n").splitlines() if log.is_file() else []
    spoken = [line.strip() for line in lines if line.strip() and "━" not in line and "─" not in line]
    return " | ".join(spoken[-TAIL_LINES:])
