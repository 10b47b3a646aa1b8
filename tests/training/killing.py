"""Killing the worker of a training at a chosen moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tasks.kind import Event, Job
from tasks.training import supervise

Kill = Callable[[Event], bool]


def killing(monkeypatch: pytest.MonkeyPatch, when: Kill, times: int = 1) -> list[int]:
    """Kill -9 the worker at the first event for which `when` holds, once that is handled. Returns the pids killed.

    It stands still while the event is handled, and what it reported after it is not heard: these trainings are so short
    that it could else be finished by then.
    """
    real, killed = supervise.events, []

    def events(job: Job, log: Path):  # type: ignore[no-untyped-def]
        heard = real(job, log)
        for event in heard:
            if len(killed) >= times or not when(event):
                yield event
                continue
            worker = next((each for each in psutil.Process().children() if _is_worker(each)), None)
            if worker:
                worker.suspend()
            yield event
            if worker:
                worker.kill()
            killed.append(worker.pid if worker else 0)
            deque(heard, maxlen=0)
            raise supervise.WorkerKilled(
                "it was finished before it was killed", fix="none is needed: as if it had been"
            )

    monkeypatch.setattr(supervise, "events", events)
    return killed


def _is_worker(process: psutil.Process) -> bool:
    """Whether it is a worker, and has not ended yet."""
    try:
        return "tasks.training.worker" in process.cmdline()
    except psutil.NoSuchProcess:  # ended, or a zombie: it is over, and nobody has looked
        return False
