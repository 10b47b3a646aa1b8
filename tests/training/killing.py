"""Killing the worker of a training at a chosen moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tasks.kind import Event, Job
from tasks.training import supervise

Kill = Callable[[Event], bool]


def killing(monkeypatch: pytest.MonkeyPatch, when: Kill, times: int = 1) -> list[int]:
    """Kill -9 the worker at the first event for which `when` holds, once that is handled. Returns the pids killed.

    It stands still while the event is handled: these trainings are so short that it could else be finished by then.
    """
    real, killed = supervise.events, []

    def events(job: Job, log: Path):  # type: ignore[no-untyped-def]
        for event in real(job, log):
            if len(killed) >= times or not when(event):
                yield event
                continue
            (worker,) = (p for p in psutil.Process().children() if "tasks.training.worker" in p.cmdline())
            worker.suspend()
            yield event
            worker.kill()
            killed.append(worker.pid)

    monkeypatch.setattr(supervise, "events", events)
    return killed
