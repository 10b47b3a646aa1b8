"""Locks: whether they exclude, who holds them for long, and what killed processes have left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from tasks.lake.locks import holders, is_held
from tasks.operations.doctor.findings import Finding, check, ok, warning, wrong
from tasks.operations.doctor.patient import Patient
from tasks.schemas import now
from tasks.stack.processes import marked
from tasks.stack.supervisor import Supervisor

LONG_H = 26.0
"""Longer than a night and the next."""


@check("locks.exclude")
def exclude(patient: Patient) -> Iterator[Finding]:
    """The state folder's disk keeps locks: on some network disks everybody gets every lock."""
    folder = patient.state_dir / "locks"
    if not patient.state_dir.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / "doctor.lock"
    with FileLock(path, timeout=5):
        try:
            with FileLock(path, timeout=0):
                yield wrong(f"{folder}: two processes get the same lock", "move the state folder to a local disk")
        except Timeout:
            yield ok(f"{folder}: a lock has one holder")


@check("locks.held")
def held(patient: Patient) -> Iterator[Finding]:
    """No lock is held for longer than a night takes."""
    long = 0
    for path in sorted((patient.state_dir / "locks").glob("*.pid")):
        pid = _pid_in(path)
        if pid is None or not psutil.pid_exists(pid) or not is_held(path.with_suffix(".lock")):
            continue  # of a process that was killed: the kernel has freed its lock
        hours = (time.time() - path.stat().st_mtime) / 3600
        if hours > LONG_H:
            long += 1
            command = " ".join(psutil.Process(pid).cmdline()[:6])
            yield warning(f"lock {path.stem!r} is held by process {pid} ({command}) for {hours:.0f} h",
                          f"look what it does; kill {pid} frees the lock")  # fmt: skip
    if not long:
        yield ok("none is held for long")


@check("locks.machines")
def machines(patient: Patient) -> Iterator[Finding]:
    """Machines that share tables share their locks, too, and none of them holds one for longer than a night takes."""
    settings = patient.settings
    if not settings.locks.uri.get_secret_value():
        if not settings.iceberg_uri.startswith("sqlite"):
            yield warning(
                "the catalog is one that several machines may share, and locks are files of this one",
                "set NIGHTSCOPE_LOCKS__URI on every machine, if there is more than one: docs/how-to/locks.md",
            )
        return
    held = holders(settings)
    long = [each for each in held if (now() - each.since).total_seconds() > 3600 * LONG_H]
    for each in long:
        yield warning(f"lock {each.lock!r} is held by {each}", f"look what process {each.pid} of {each.host} does")
    if not long:
        yield ok(f"the database of locks answers; {len(held)} are held, none for long")


@check("locks.leftovers")
def leftovers(patient: Patient) -> Iterator[Finding]:
    """No process outlived the stack, and no pid file names a dead one."""
    layout = patient.layout
    running = Supervisor(layout).answers()
    if running:
        yield ok("the process manager answers")
        return
    orphans = sorted({each.service or "a task" for each in marked(layout.marker)})
    if orphans:
        yield wrong(f"the process manager is gone, and of its processes there are left: {', '.join(orphans)}",
                    "nightscope down ends them")  # fmt: skip
    pid_file = layout.control_dir / "supervisord.pid"
    if not orphans and pid_file.exists():
        yield warning(f"{pid_file}: of a process manager that was killed", "nightscope up, or remove it")


def _pid_in(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
