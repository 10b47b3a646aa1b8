"""What is up, where, since when."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.errors import StackError
from tasks.stack import ports, settings_file
from tasks.stack.airflow import SERVICES as AIRFLOW_SERVICES
from tasks.stack.health import reachable
from tasks.stack.layout import Layout
from tasks.stack.processes import family_holds, marked
from tasks.stack.s3 import SERVICES as S3_SERVICES
from tasks.stack.services import UNITS
from tasks.stack.supervisor import ProcessInfo, Supervisor


@dataclass(frozen=True)
class ServiceStatus:
    """One service of the stack.

    Attributes:
        name: s3, mlflow, label-studio, airflow-api-server, ...; 'airflow' where it is external.
        state: 'running' (and it listens, if it should), 'starting', 'stopping', 'backoff' (died, is tried again),
            'fatal' (given up), 'stopped', 'orphaned' (its process manager was killed: `down` or `up` cleans up),
            'external' or 'unreachable' for a service that is not ours.
        url: Where it answers; None for a service that does not listen, or is not up.
        pid: Its process, where it is ours and up.
        since: When that process started, UTC.
    """

    name: str
    state: str
    url: str | None = None
    pid: int | None = None
    since: datetime | None = None

    def report(self) -> dict[str, Any]:
        """For JSON: `since` as ISO 8601."""
        since = self.since.isoformat() if self.since else None
        return {"name": self.name, "state": self.state, "url": self.url, "pid": self.pid, "since": since}


def service_names(unit: str) -> tuple[str, ...]:
    """The services of a unit."""
    return {"airflow": AIRFLOW_SERVICES, "s3": S3_SERVICES}.get(unit, (unit,))


def status(
    state_dir: Path, *, units: Collection[str] = UNITS, environ: Mapping[str, str] | None = None
) -> list[ServiceStatus]:
    """Look at every service; starts and changes nothing.

    Args:
        state_dir: The stack's state folder; need not exist.
        units: Which ones to look at.
        environ: Where external services may be named; default this process's.
    """
    layout = Layout.at(state_dir)
    external = settings_file.external(layout, os.environ if environ is None else environ)
    chosen = ports.remembered(layout)
    try:
        known: dict[str, ProcessInfo] = Supervisor(layout).processes()
        orphans: dict[str, Any] = {}
    except StackError:
        known = {}
        orphans = {each.service: each.process for each in marked(layout.marker)}
    found = []
    for unit in (each for each in UNITS if each in units):
        if unit in external:
            state = "external" if reachable(external[unit]) else "unreachable"
            found.append(ServiceStatus(unit, state, url=external[unit]))
            continue
        for name in service_names(unit):
            port = chosen.get("airflow" if name == "airflow-api-server" else name)
            if name in orphans:
                since = datetime.fromtimestamp(orphans[name].create_time(), UTC)
                found.append(ServiceStatus(name, "orphaned", pid=orphans[name].pid, since=since))
            else:
                found.append(_embedded(name, known.get(name), port))
    return found


def _embedded(name: str, info: ProcessInfo | None, port: int | None) -> ServiceStatus:
    if info is None or info.state in {"stopped", "exited"}:
        return ServiceStatus(name, "stopped")
    state = info.state
    if state == "running" and port is not None and not (info.pid and family_holds(port, info.pid)):
        state = "starting"
    return ServiceStatus(name, state, f"http://{ports.HOST}:{port}" if port else None, info.pid, info.since)
