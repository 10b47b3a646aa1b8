"""Finding and ending the processes of a stack by the marks in their environment.

Every process of the stack carries `NIGHTSCOPE_STACK=<marker>` and `NIGHTSCOPE_SERVICE=<name>`, and so does whatever it
starts: a task of Airflow, a training. The marks outlive a killed parent, which process groups and pid files do not.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import psutil

STACK_MARK = "NIGHTSCOPE_STACK"
SERVICE_MARK = "NIGHTSCOPE_SERVICE"


@dataclass(frozen=True)
class Marked:
    """One process of a stack."""

    process: psutil.Process
    service: str


def marked(marker: str, service: str | None = None) -> Iterator[Marked]:
    """Living processes of the stack `marker` (of one `service` only, if given), but never ourselves or an ancestor."""
    own = psutil.Process()
    spared = {own.pid, *(parent.pid for parent in own.parents())}
    for process in psutil.process_iter():
        if process.pid in spared:
            continue
        try:
            environment = process.environ()
            if environment.get(STACK_MARK) != marker or process.status() == psutil.STATUS_ZOMBIE:
                continue
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # gone meanwhile, or another user's
            continue
        name = environment.get(SERVICE_MARK, "")
        if service is None or name == service:
            yield Marked(process, name)


def end(processes: Iterable[psutil.Process], patience_s: float) -> None:
    """Ask the processes to end, wait up to `patience_s`, then kill the rest; 0 kills at once."""
    remaining = list(processes)
    if patience_s > 0:
        for process in remaining:
            _signal(process, kill=False)
        _, remaining = psutil.wait_procs(remaining, timeout=patience_s)
    for process in remaining:
        _signal(process, kill=True)
    psutil.wait_procs(remaining, timeout=5)


def end_marked(marker: str, service: str | None = None, patience_s: float = 3.0) -> list[str]:
    """End every process of the stack (or of one service), also those that start while we are at it.

    Returns:
        The services whose processes were found.
    """
    found: set[str] = set()
    deadline = time.monotonic() + patience_s + 20
    while time.monotonic() < deadline:
        running = list(marked(marker, service))
        if not running:
            break
        found.update(each.service for each in running)
        # The process manager first, and alone: it would start again what we end.
        managers = [each.process for each in running if each.service == "supervisord"]
        end(managers or [each.process for each in running], 0 if managers else patience_s)
        patience_s = 0
    return sorted(found)


def holds(port: int, marker: str) -> bool:
    """Whether any process of the stack listens on `port`."""
    return any(_listens(each.process, port) for each in marked(marker))


def family_holds(port: int, pid: int) -> bool:
    """Whether the process `pid` or a descendant of it listens on `port`: not what a killed predecessor left."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return False
    return any(_listens(process, port) for process in family)


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        connections = process.net_connections(kind="tcp")
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    return any(found.status == psutil.CONN_LISTEN and found.laddr.port == port for found in connections)


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        if kill:
            process.kill()
        else:
            process.terminate()
    except psutil.NoSuchProcess:
        return
