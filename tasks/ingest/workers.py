"""Worker processes that read recordings side by side, and may crash without more harm than that.

Each thread that reads has a worker process of its own, so that a crash always belongs to one recording: that one is
tried once more in a fresh process, then given up with a reason. (A `ProcessPoolExecutor` breaks as a whole, cannot tell
whose crash it was, cannot run inside daemonic processes, and leaves orphans behind a killed parent.)
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from types import TracebackType

from tasks.errors import StorageUnavailable
from tasks.ingest.reading import Job, Outcome

_ATTEMPTS = 2
_PRIVATE = ("NIGHTSCOPE_", "AIRFLOW", "_AIRFLOW", "AWS_", "MLFLOW_", "LABEL_STUDIO")
"""Environment that a decoder has no use for; some of it is secret, and the files it reads come from anywhere."""
_MARKS = {"NIGHTSCOPE_STACK", "NIGHTSCOPE_SERVICE"}
"""By these `nightscope down` finds what belongs to a stack (`tasks.stack.processes`)."""


class Workers:
    """A worker process for each thread that asks for one.

    Use as a context manager, whose end ends the processes. Threads must live as long as it does: the kernel kills a
    worker when the thread that started it ends.
    """

    def __init__(self) -> None:
        self._mine = threading.local()
        self._started: list[subprocess.Popen[str]] = []
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
            process = self._process()
            answer = _ask(process, json.dumps(job.as_data()) + "\n")
            if answer:
                data = json.loads(answer)
                if "machine" in data:
                    raise StorageUnavailable(
                        f"scratch folder {job.folder}: {data['machine']}", fix="make room on the disk, and run it again"
                    )
                return Outcome.from_data(data)
            code = _ended(process)
            self._mine.process = None
            if self._stopped:
                break
        reason = f"the decoder crashed on it, twice ({_cause(code)}); export the recording again"
        return Outcome(reason=reason, crashed=True)

    def _process(self) -> subprocess.Popen[str]:
        process: subprocess.Popen[str] | None = getattr(self._mine, "process", None)
        if process is None or process.poll() is not None:
            process = subprocess.Popen(
                # -P: a folder `tasks`, or a `numpy.py`, where the command happens to be run must not take their place.
                [sys.executable, "-P", "-m", "tasks.ingest.worker", str(os.getpid())],
                env={key: value for key, value in os.environ.items() if key in _MARKS or not key.startswith(_PRIVATE)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
            self._mine.process = process
            with self._lock:
                self._started.append(process)
        return process


def _ask(process: subprocess.Popen[str], question: str) -> str:
    """The worker's answer; empty if it died instead."""
    if process.stdin is None or process.stdout is None:
        return ""
    try:
        process.stdin.write(question)
        process.stdin.flush()
        return process.stdout.readline()
    except (BrokenPipeError, ConnectionResetError):
        return ""


def _ended(process: subprocess.Popen[str]) -> int:
    """How it ended. It has closed its pipe already, so it is about to, if it has not."""
    try:
        return process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _cause(code: int) -> str:
    if code == -signal.SIGKILL:
        return "killed, most likely for want of memory"
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
