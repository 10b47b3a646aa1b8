"""Ending the stack: gracefully, then surely."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from tasks.errors import StackError
from tasks.stack.airflow import SERVICES as AIRFLOW_SERVICES
from tasks.stack.events import Event, silent
from tasks.stack.layout import Layout
from tasks.stack.processes import end_marked, marked
from tasks.stack.supervisor import ALIVE, Supervisor


def down(state_dir: Path, *, on_event: Callable[[Event], None] = silent) -> list[str]:
    """End every process of the stack, whoever started it and whatever became of its process manager.

    Args:
        state_dir: The stack's state folder; nothing happens if it does not exist.
        on_event: Told of each service as it ends.

    Returns:
        Names of the services that were up.

    Raises:
        StackError: `up` is at work on this stack, or a process cannot be ended.
    """
    layout = Layout.at(state_dir)
    if not layout.control_dir.is_dir():
        return sorted({each.service for each in marked(layout.marker)} and end_marked(layout.marker))
    try:
        with FileLock(layout.lock, timeout=10, mode=0o600):
            return end_stack(layout, on_event)
    except Timeout:
        raise StackError(
            f"{layout.state_dir}: another `nightscope up` or `down` is at work here", fix="wait for it, or end it"
        ) from None


def end_stack(layout: Layout, on_event: Callable[[Event], None] = silent) -> list[str]:
    """`down` for one who holds the lock already."""
    started = time.monotonic()
    was_up = _stop_services(Supervisor(layout), on_event)
    leftovers = [name for name in end_marked(layout.marker) if name]
    for name in leftovers:
        if name not in ("supervisord", *was_up):
            on_event(Event(name, "stopped", time.monotonic() - started, "was left over"))
    survivors = [each.process.pid for each in marked(layout.marker)]
    if survivors:
        raise StackError(f"processes {survivors} of the stack cannot be ended", fix="end them by hand")
    layout.socket.unlink(missing_ok=True)
    (layout.control_dir / "supervisord.pid").unlink(missing_ok=True)
    return sorted({*was_up, *leftovers} - {"supervisord"})


def _stop_services(supervisor: Supervisor, on_event: Callable[[Event], None]) -> list[str]:
    """Let supervisord stop everything: Airflow first, for its tasks use the others. Nothing if it does not answer."""
    started = time.monotonic()
    try:
        alive = [info.name for info in supervisor.processes().values() if info.state in ALIVE]
        first = [name for name in alive if name in AIRFLOW_SERVICES]
        for group in (first, [name for name in alive if name not in first]):
            supervisor.stop(group, lambda name: on_event(Event(name, "stopped", time.monotonic() - started)))
    except StackError:
        return []  # killed: what it left is found by its marks
    with suppress(StackError):
        supervisor.shutdown()
        _wait_gone(supervisor)
    return alive


def _wait_gone(supervisor: Supervisor) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and supervisor.answers():
        time.sleep(0.05)
