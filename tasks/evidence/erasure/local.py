"""What this machine keeps of a donor beside the lake: caches, scratch, logs, the demo's files, the table of names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tasks.config import Settings
from tasks.errors import StorageUnavailable
from tasks.evidence.erasure.scope import Scope
from tasks.lake.blobs import hash_file
from tasks.lake.locks import at_work, holders
from tasks.lake.pseudonyms import forget

_LOGS = ("logs", "airflow/logs")
_FILES = ("demo",)
_LEARNING = ("train-", "export-", "line-training-")


def refuse_running(settings: Settings) -> None:
    """Find work whose folders `clear_local` would take away.

    Raises:
        StorageUnavailable: Naming what is running.
    """
    if running := at_work(settings):
        raise StorageUnavailable(
            f"erase: at work on this machine: {', '.join(running)}",
            expected="no training, export, layout of a dataset or evaluation, whose folders would be emptied",
            found=f"{len(running)} locks held",
            fix="wait for it, or end it, and run this again",
        )
    elsewhere = [one for one in holders(settings) if one.lock.startswith(_LEARNING)]
    if elsewhere:
        raise StorageUnavailable(
            f"erase: at work on another machine: {'; '.join(f'{one.lock}, {one}' for one in elsewhere)}",
            expected="no training or export, which may hold what is to be erased",
            found=f"{len(elsewhere)} locks held",
            fix="wait for it, or end it, and run this again",
        )


def clear_local(settings: Settings) -> None:
    """Empty caches and scratch: copies, made again where they are needed."""
    for folder in (settings.cache_dir, settings.work_dir):
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def clear_names(settings: Settings, scope: Scope) -> None:
    """Take the names out of logs, remove the demo's files of the donor, and forget pseudonyms."""
    for path in _below(settings.state_dir, _LOGS):
        _clear_log(path, scope)
    for path in _below(settings.state_dir, _FILES):
        if scope.names.mentioned(path.name) or hash_file(path) in scope.recordings:
            path.unlink(missing_ok=True)
    forget(settings, scope.donor)


def _below(state_dir: Path, folders: tuple[str, ...]) -> Iterator[Path]:
    for name in folders:
        for path in sorted((state_dir / name).rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield path


def _clear_log(path: Path, scope: Scope) -> None:
    """In place: the program that writes to it has it open."""
    with suppress(OSError, UnicodeDecodeError):
        text = path.read_text()
        new = scope.names.text(text)
        if new != text:
            with path.open("r+") as file:
                file.write(new)
                file.truncate()
                os.fsync(file.fileno())
