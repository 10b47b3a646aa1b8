"""Locks between processes of one machine, that the death of their holder releases."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.config import Settings
from tasks.errors import StorageUnavailable

_WORK = ("train-", "export-", "materialise-", "device-")
"""Locks that are held while something is read from, or written to, scratch."""


@contextmanager
def lake_lock(settings: Settings, name: str, *, timeout_s: float = -1) -> Iterator[Path]:
    """Hold the lock `name` of this installation.

    The kernel owns the lock (flock), so a holder that is killed, even by -9, leaves it free. The holder's pid stands
    in `<state_dir>/locks/<name>.pid`, for people who wonder whom they wait for.

    Args:
        settings: Of this installation: the lock lies in its state folder.
        name: What is locked, e.g. 'train-gpu0'.
        timeout_s: How long to wait; negative = for ever, 0 = do not wait.

    Yields:
        The lock's file.

    Raises:
        StorageUnavailable: Somebody else held it for longer than `timeout_s`; worth another try later.
    """
    from filelock import FileLock, Timeout

    folder = settings.state_dir / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    path, holder = folder / f"{name}.lock", folder / f"{name}.pid"
    lock = FileLock(path, timeout=timeout_s)
    try:
        lock.acquire()
    except Timeout as error:
        pid = holder.read_text().strip() if holder.is_file() else "unknown"
        raise StorageUnavailable(
            f"lock {name!r} is held by process {pid}", fix=f"wait for it, or end it ({path})"
        ) from error
    try:
        holder.write_text(f"{os.getpid()}\n")
        yield path
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def at_work(settings: Settings) -> list[str]:
    """Work on this machine, by the names of its locks, whose scratch must not be taken away; never waits."""
    locks = sorted((settings.state_dir / "locks").glob("*.lock"))
    return [path.stem for path in locks if path.name.startswith(_WORK) and _is_held(path)]


def _is_held(path: Path) -> bool:
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
