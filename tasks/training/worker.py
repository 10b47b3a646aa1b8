"""The training subprocess: `python -m tasks.training.worker <job.json>`. See `job.py` for what goes in and comes out.

It dies with the step that started it, and trains only while nobody else trains on the same device.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tasks.kind import Job, Kind
from tasks.training import devices
from tasks.training.event_files import EventFiles
from tasks.training.meter import Watched

PR_SET_PDEATHSIG = 1


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies; leave at once if it has died already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before the call above: nobody would ever tell us
        sys.exit(f"step {parent_pid} is gone: not training for nobody")


class Reporter:
    """Writes events for the step on the real standard output; all that others print goes to the log (stderr)."""

    def __init__(self, *, silent: bool = False) -> None:
        self._silent = silent
        self.stream = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)

    def __call__(self, event: str, **content: Any) -> None:
        if not self._silent:
            self.stream.write(json.dumps({"event": event, **content}, default=str) + "\n")


def main(job_file: Path) -> None:
    """Run one job: alone, or as one of several processes that train together (DDP), one on each GPU."""
    job = Job.model_validate_json(job_file.read_text())
    rank = os.environ.get("LOCAL_RANK")
    die_with(job.parent_pid if rank is None else os.getppid())
    silent = rank not in (None, "0")
    reporter = Reporter(silent=silent)
    report = Watched(reporter, EventFiles(job.shown_in) if job.shown_in and not silent else None)
    if rank is not None:
        Kind.named(job.kind).training.train(job, report, rank=int(rank))
        return
    training = Kind.named(job.kind).training
    with devices.hold(job.locks_dir, job.devices, job.on, lambda what: report("waiting", **{"for": what})) as held:
        devices.show_only(held)
        if len(held) > 1:
            start_ranks(job_file, len(held), reporter)
            return
        training.train(job, report)


def start_ranks(job_file: Path, count: int, report: Reporter) -> None:
    """Train on several GPUs: one process each, started by torch's launcher; the first of them reports for all.

    (A trainer would start them itself, from a file that knows neither our events nor our checkpoints.)
    """
    launcher = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    command = [*launcher, f"--nproc-per-node={count}", "-m", "tasks.training.worker", str(job_file)]
    kernel = ctypes.CDLL(None)
    ranks = subprocess.Popen(
        command,
        stdout=report.stream,
        env=os.environ | {"PYTHONSAFEPATH": "1"},
        preexec_fn=lambda: kernel.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
    )
    if code := ranks.wait():
        sys.exit(code if code > 0 else 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
