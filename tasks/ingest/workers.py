"""Worker processes that read recordings side by side, and may crash without more harm than that.

Each thread that reads has a worker process of its own, so that a crash always belongs to one recording: that one is
tried once more in a fresh process, then given up with a reason. One that takes more time or memory than it may is given
up at once, and its process replaced. (A `ProcessPoolExecutor` breaks as a whole, cannot tell
whose crash it was, cannot run inside daemonic processes, and leaves orphans behind a killed parent.)
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from tasks.config import IngestLimits
from tasks.errors import StorageUnavailable
from tasks.ingest.reading import Job, Outcome, out_of_memory

_ATTEMPTS = 2
_LOOK_EVERY_S = 0.25
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Recordings are read side by side; threads within one would only take memory (a stack and buffers each)."""
_PRIVATE = ("NIGHTSCOPE_", "AIRFLOW", "_AIRFLOW", "AWS_", "MLFLOW_", "LABEL_STUDIO")
"""Environment that a decoder has no use for; some of it is secret, and the files it reads come from anywhere."""
_MARKS = {"NIGHTSCOPE_STACK", "NIGHTSCOPE_SERVICE"}
"""By these `nightscope down` finds what belongs to a stack (`tasks.stack.processes`)."""


class Workers:
    """A worker process for each thread that asks for one.

    Use as a context manager, whose end ends the processes. Threads must live as long as it does: the kernel kills a
    worker when the thread that started it ends.

    Args:
        limits: What one recording may ask of this machine.
    """

    def __init__(self, limits: IngestLimits | None = None) -> None:
        self._limits = limits or IngestLimits()
        self._mine = threading.local()
        self._started: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        self._stopped = False

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End all worker processes for good; what they are reading counts as crashed."""
        with self._lock:
            started, self._started = self._started, []
            self._stopped = True
        for process in started:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):  # a question that it did not live to read
                        pipe.close()

    def read(self, job: Job) -> Outcome:
        """Do a job in this thread's worker process; blocks until it is done.

        Raises:
            StorageUnavailable: This machine has no room for it.
        """
        code = 0
        for _ in range(_ATTEMPTS):
            try:
                data = self._answer(replace(job, limits=self._limits).as_data(), _size_of(job), job.folder)
            except _BeyondLimit as beyond:
                return Outcome(reason=str(beyond), crashed=True)
            if isinstance(data, dict):
                return Outcome.from_data(data)
            code = data
            if self._stopped:
                break
        reason = f"the decoder crashed on it, twice ({cause_of(code)}); export the recording again"
        return Outcome(reason=reason, crashed=True)

    def read_many(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Do many small jobs by one question. Where the worker does not survive it, each is asked for by itself, and
        only the one is lost that it dies of.

        Raises:
            StorageUnavailable: This machine has no room for them.
        """
        if len(jobs) < 2:
            return [self.read(job) for job in jobs]
        asked = [replace(job, limits=self._limits).as_data() for job in jobs]
        data: Any = None
        with suppress(_BeyondLimit):
            data = self._answer(asked, sum(map(_size_of, jobs)), jobs[0].folder)
        if isinstance(data, list):
            return [Outcome.from_data(one) for one in data]
        return [self.read(job) for job in jobs]

    def _answer(self, asked: Any, size_bytes: int, folder: str) -> Any:
        """What the worker answers to a job, or to a list of them; its exit code, a number, where it died instead.

        Raises:
            _BeyondLimit: It took more than it may, and was ended.
            StorageUnavailable: This machine has no room for it.
        """
        process, limits = self._process(), self._limits
        try:
            answer = _ask(process, json.dumps(asked) + "\n", limits.deadline_of(size_bytes), limits)
        except _BeyondLimit:
            _ended(process, kill=True)
            self._mine.process = None
            raise
        if not answer:
            self._mine.process = None
            return _ended(process)
        data = json.loads(answer)
        if isinstance(data, dict) and "machine" in data:
            raise StorageUnavailable(
                f"scratch folder {folder}: {data['machine']}", fix="make room on the disk, and run it again"
            )
        return data

    def _process(self) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] | None = getattr(self._mine, "process", None)
        if process is None or process.poll() is not None:
            process = start_worker("tasks.ingest.worker", self._limits)
            self._mine.process = process
            with self._lock:
                self._started.append(process)
        return process


def start_worker(module: str, limits: IngestLimits) -> subprocess.Popen[bytes]:
    """Start a module as a worker process, which dies with the thread that starts it and inherits nothing secret.

    Args:
        module: What to run; its arguments are our process id, and the memory in MB that it may take.
        limits: What one recording may ask of this machine.
    """
    return subprocess.Popen(
        # -P: a folder `tasks`, or a `numpy.py`, where the command happens to be run must not take their place.
        [sys.executable, "-P", "-m", module, str(os.getpid()), str(limits.memory_mb)],
        env={
            key: value
            for key, value in (os.environ | _ONE_THREAD).items()
            if key in _MARKS or not key.startswith(_PRIVATE)
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )


class _BeyondLimit(Exception):
    """It takes more than it may. The text is the reason for quarantine."""


def _size_of(job: Job) -> int:
    with suppress(OSError):
        return Path(job.path).stat().st_size
    return 0


def _ask(process: subprocess.Popen[bytes], question: str, deadline_s: float, limits: IngestLimits) -> bytes:
    """The worker's answer; empty if it died instead.

    Raises:
        _BeyondLimit: It does not answer in time, or grows too large.
    """
    if process.stdin is None or process.stdout is None:
        return b""
    until, answer = time.monotonic() + deadline_s, b""
    try:
        process.stdin.write(question.encode())
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], _LOOK_EVERY_S)
            if ready:
                more = os.read(process.stdout.fileno(), 2**20)
                if not more:
                    return b""
                answer += more
            elif time.monotonic() > until:
                raise _BeyondLimit(
                    f"reading it took longer than {deadline_s:.0f} s; export it again, or raise"
                    " NIGHTSCOPE_INGEST__DEADLINE_S"
                )
            elif memory_of(process) > limits.memory_mb * 2**20 + OWN_BYTES:
                raise _BeyondLimit(out_of_memory(limits))
    except (BrokenPipeError, ConnectionResetError, ValueError):  # the last: our pipe was closed by `stop`
        return b""
    return answer


OWN_BYTES = 512 * 2**20
"""What a worker takes for itself; the limit within it comes first, where the system knows one."""


def memory_of(process: subprocess.Popen[bytes]) -> int:
    """What it holds in memory, without the files that it maps."""
    with suppress(psutil.Error):
        memory = psutil.Process(process.pid).memory_info()
        return int(memory.rss - memory.shared)
    return 0


def _ended(process: subprocess.Popen[bytes], *, kill: bool = False) -> int:
    """How it ended. It has closed its pipe already, so it is about to, if it has not."""
    if kill:
        process.kill()
    try:
        return process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def cause_of(code: int) -> str:
    """What ended a worker process, by its exit code."""
    if code == -signal.SIGKILL:
        return "killed, most likely for want of memory"
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
