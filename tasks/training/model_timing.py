"""Models timed against each other, each in a process of its own, whatever their kind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.errors import StepFailed
from tasks.schemas import Frozen
from tasks.training.supervise import public_environment, tail


def time_models(jobs: Mapping[str, Frozen], module: str, folder: Path, *, rounds: int = 4) -> dict[str, dict[str, Any]]:
    """Time models against each other, each in a fresh subprocess, turn by turn, so that a busy moment hits them all.

    Args:
        jobs: By name.
        module: What uses a model: `python -m <module> <job.json>`. Once it is loaded and warm it reports; then it
            predicts all images for every line that it reads, and reports `latency_ms`; at the end of its input it
            reports `peak_rss_mb` and `libraries_rss_mb`.
        folder: For job files and logs.
        rounds: How often each predicts all images.

    Returns:
        By name: `latency_ms_p50`, `latency_ms_p95` (one image at a time, decoded image to finished boxes), `fps`,
        `images` that were timed, `peak_rss_mb` of the process, and `libraries_rss_mb`, its memory before the model was
        loaded.

    Raises:
        StepFailed: A subprocess failed; with the end of its log.
    """
    users = {name: _User(name, job, module, folder) for name, job in jobs.items()}
    spent: dict[str, list[float]] = {name: [] for name in jobs}
    try:
        for user in users.values():
            user.hear()  # loaded and warm
        for _ in range(rounds):
            for name, user in users.items():
                spent[name] += user.ask()["latency_ms"]
        return {name: _summary(spent[name], user.finish()) for name, user in users.items()}
    finally:
        for user in users.values():
            user.end()


class _User:
    """One subprocess that uses a model, at the other end of a pipe."""

    def __init__(self, name: str, job: Frozen, module: str, folder: Path) -> None:
        job_file, self._log = folder / f"{name}.json", folder / f"{name}.log"
        job_file.write_text(job.model_dump_json())
        self._name = name
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(job_file)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=folder, text=True,
                env=public_environment(),
            )  # fmt: skip

    def hear(self) -> dict[str, Any]:
        """Its next answer."""
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            code = self._process.wait()
            raise StepFailed(f"benchmark of {self._name} failed (exit code {code})", found=tail(self._log))
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self) -> dict[str, Any]:
        """Have it predict all images once."""
        with suppress(BrokenPipeError):  # it died: hearing says so, and why
            if self._process.stdin:
                self._process.stdin.write("again\n")
                self._process.stdin.flush()
        return self.hear()

    def finish(self) -> dict[str, Any]:
        """Tell it that this was all, and hear what it needed."""
        with suppress(BrokenPipeError):
            if self._process.stdin:
                self._process.stdin.close()
        return self.hear()

    def end(self) -> None:
        """Leave nothing running."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe and not pipe.closed:
                pipe.close()


def _summary(spent: Sequence[float], memory: Mapping[str, float]) -> dict[str, Any]:
    import numpy as np

    low, high = (round(float(np.percentile(spent, at)), 3) for at in (50, 95))
    kept = {name: memory[name] for name in ("peak_rss_mb", "libraries_rss_mb")}
    fps = round(1e3 * len(spent) / sum(spent), 2)
    return {"latency_ms_p50": low, "latency_ms_p95": high, "fps": fps, "images": len(spent), **kept}


def memory_mb(what: str) -> float:
    """This process's memory: VmRSS now, VmHWM at its peak. In MiB; Linux."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0
