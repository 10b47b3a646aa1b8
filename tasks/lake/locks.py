"""Locks between processes, that the death of their holder releases: of one machine, or of the whole installation.

`lake_lock` is of the whole installation: of what lies in the lake, in MLflow, in Label Studio, and of files that
machines may share (keys, heads, pseudonyms).

    catalog                            making the catalog's own tables
    table-<table>                      a turn to commit; what keeps commits apart is Iceberg's compare-and-swap
    ingest                             taking in what is new
    labels-<line>                      exchange with Label Studio
    splits-<line>                      placing groups, freezing a dataset version
    clears-<line>                      what people cleared in leak audits
    train-<key>, line-training-<line>  one training of a run key; one night's training of a line
    search-<...>, trial-<...>          a search's values, and one trial of it
    export-<line>                      exports of a line
    denoiser-<name>                    the next version of a denoiser
    promote-<line>, evidence-<line>    the promotion journal with MLflow's aliases; the chain of evidence
    rotate-key, signing-keys, heads    the files of keys, and what was seen of chains
    pseudonyms, pseudonym-key          the table of names, and its key

`machine_lock` is of one machine: of what lies in its state folder alone.

    materialise-<version>              a dataset's layout
    serve-token-<line>                 the token of a service
    device-<device>                    a GPU, or the CPU (`tasks/training/devices.py`, which has its own)

A machine's locks are files. Those of the installation are files, too, and beside them advisory locks in PostgreSQL
where `NIGHTSCOPE_LOCKS__URI` names one (`tasks/lake/lock_sessions.py`): the file first, so that of each machine one
process at a time waits at the database, and a machine's own locks tell what is at work on it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.config import Settings
from tasks.errors import StorageUnavailable

if TYPE_CHECKING:
    from tasks.lake.lock_sessions import Holder

_WORK = ("train-", "export-", "materialise-", "device-")
"""Locks that are held while something is read from, or written to, scratch."""


@contextmanager
def lake_lock(settings: Settings, name: str, *, timeout_s: float = -1, fenced: bool = True) -> Iterator[Path]:
    """Hold the lock `name` of this installation, on all of its machines.

    Args:
        settings: Of this installation.
        name: What is locked, e.g. 'promote-sperm-detector'.
        timeout_s: How long to wait; negative = for ever, 0 = do not wait.
        fenced: Whether nothing may be written any more once the lock is lost (`tasks/lake/fences.py`). Not so for a
            lock that is a courtesy, or that only reads.

    Yields:
        The lock's file on this machine.

    Raises:
        StorageUnavailable: Somebody else held it for longer than `timeout_s`, or the database did not answer; worth
            another try later.
        LockLost: The block ended, and the lock had been lost by then.
        ConfigError: The database refuses us.
    """
    until = time.monotonic() + timeout_s if timeout_s >= 0 else None
    with machine_lock(settings, name, timeout_s=timeout_s) as path:
        if not settings.locks.uri.get_secret_value():
            yield path
            return
        from tasks.lake.lock_sessions import hold

        with hold(settings, name, until=until, fenced=fenced):
            yield path


@contextmanager
def machine_lock(settings: Settings, name: str, *, timeout_s: float = -1) -> Iterator[Path]:
    """Hold the lock `name` of this machine.

    The kernel owns the lock (flock), so a holder that is killed, even by -9, leaves it free. The holder's pid stands
    in `<state_dir>/locks/<name>.pid`, for people who wonder whom they wait for.

    Args:
        settings: Of this installation: the lock lies in its state folder.
        name: What is locked, e.g. 'serve-token-sperm-detector'.
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
    return [path.stem for path in locks if path.name.startswith(_WORK) and is_held(path)]


def holders(settings: Settings) -> list[Holder]:
    """Who holds which lock of the installation now, on any machine; none where its locks are files alone."""
    if not settings.locks.uri.get_secret_value():
        return []
    from tasks.lake.lock_sessions import holders

    return holders(settings)


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock of a file now; never waits."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
