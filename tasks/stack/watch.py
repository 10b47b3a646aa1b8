"""Waiting for a service to become healthy, and saying why when it does not."""

from __future__ import annotations

import threading
import time

from tasks.errors import StackError
from tasks.stack import health
from tasks.stack.airflow import HEALTH_PATH
from tasks.stack.layout import Layout
from tasks.stack.prepare import tail
from tasks.stack.service import Service
from tasks.stack.supervisor import ProcessInfo, Supervisor

_DEATHS_TOO_MANY = 3
_POLL_S = 0.25


class Watch:
    """Sees a unit through its start.

    Args:
        layout: Paths of the stack.
        supervisor: What runs the services.
        given_up: Set when another unit failed: waiting ends.
        deadline: On `time.monotonic()`, when to give up.
    """

    def __init__(self, layout: Layout, supervisor: Supervisor, given_up: threading.Event, deadline: float) -> None:
        self._layout = layout
        self._supervisor = supervisor
        self._given_up = given_up
        self._deadline = deadline

    def is_healthy(self, service: Service, first: Service) -> bool:
        """Whether `service` runs and answers. `first` is the unit's service that listens."""
        return self._healthy(service, first, self._supervisor.processes().get(service.name))

    def wait_healthy(self, service: Service, first: Service) -> None:
        """Return when `service` is healthy, or when another unit has failed.

        Raises:
            StackError: It died again and again, or time is up; with the end of its log.
        """
        deaths, last_pid = 0, None
        while not self._given_up.is_set():
            info = self._supervisor.processes().get(service.name)
            if self._healthy(service, first, info):
                return
            pid = info.pid if info else None
            if last_pid is not None and pid != last_pid:
                deaths += 1
            last_pid = pid
            if deaths >= _DEATHS_TOO_MANY or (info and info.state == "fatal"):
                raise self._error(service, "dies when started")
            if time.monotonic() > self._deadline:
                raise self._error(service, "did not become healthy in time")
            self._given_up.wait(_POLL_S)

    def _healthy(self, service: Service, first: Service, info: ProcessInfo | None) -> bool:
        if info is None or info.state != "running" or info.pid is None or info.since is None:
            return False
        if service.port is not None:
            return health.serves(service, info.pid)
        return health.beats(service, str(first.url), HEALTH_PATH, info.since)

    def _error(self, service: Service, what: str) -> StackError:
        log = self._layout.log(service.name)
        return StackError(f"{service.name}: {what}; its log ends with:\n{tail(log)}\n", fix=f"look into {log}")
