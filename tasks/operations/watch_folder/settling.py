"""Which recordings of a folder are finished: unchanged for a while, and open to nobody who writes.

Everything is asked by names, sizes and times, which also works on a disk of another machine; nobody tells of changes
there. That a file is open for writing can only be seen where this machine writes it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tasks.ingest.landing import Found, Refused, found_among, is_hidden
from tasks.ingest.sidecar import SUFFIX
from tasks.operations.watch_folder.journal import Entry, Journal

Stats = Mapping[str, tuple[int, int, int]]
"""Name → size in bytes, time of the last change in ns, number of the file on its disk."""


@dataclass(frozen=True)
class Candidate:
    """A recording of the folder that is to land.

    Attributes:
        entry: As the journal has it from now on.
        found: A file, or a folder of pictures; or why it is none.
        files: All that it consists of.
    """

    entry: Entry
    found: Found | Refused
    files: tuple[Path, ...]


@dataclass
class Round:
    """One look at a folder.

    Attributes:
        finished: What may land.
        waiting: How many recordings are not finished yet.
        done: Folder → signature of those in which nothing waits and nothing is to land.
        folders: All folders there are.
        there: Folder → its recordings, of the folders that were looked into.
    """

    finished: list[Candidate]
    waiting: int
    done: dict[str, str]
    folders: set[str]
    there: dict[str, set[str]]


Among = Callable[[Path, Sequence[str]], Iterable[Found | Refused]]
"""The recordings among the files of one folder."""


def look(folder: Path, journal: Journal, settle_s: float, among: Among = found_among) -> Round:
    """Look at everything below a folder.

    Args:
        folder: Absolute.
        journal: Learns what is seen for the first time, or has changed.
        settle_s: How long a recording must stay as it is.
        among: Finds them.

    Raises:
        OSError: The folder cannot be read: never the same as empty.
    """
    found = Round([], 0, {}, set(), {})
    for where, names in _folders(folder):
        path = _shown(folder, where)
        found.folders.add(path)
        stats = _stats(where, names)
        signature = _signature(stats, stats)
        if journal.settled(path) == signature:
            continue
        open_ones, found.there[path] = 0, set()
        for candidate in _candidates(folder, where, stats, among):
            found.there[path].add(candidate.entry.path)
            known = journal.entry(candidate.entry.path)
            if known and known.signature == candidate.entry.signature and known.became != "seen":
                continue
            open_ones += 1
            if _is_settled(known, candidate.entry, settle_s):
                found.finished.append(candidate)
            else:
                found.waiting += 1
                if known is None or known.signature != candidate.entry.signature or known.seen_at > time.time():
                    journal.note(candidate.entry)
        if not open_ones:
            found.done[path] = signature
    written = being_written(file for candidate in found.finished for file in candidate.files)
    kept = [candidate for candidate in found.finished if not written & set(candidate.files)]
    found.waiting += len(found.finished) - len(kept)
    found.finished = kept
    return found


def being_written(files: Iterable[Path]) -> set[Path]:
    """Which of these files a process of this machine holds open for writing, as far as we may see."""
    wanted = set(files)
    if not wanted:
        return set()
    real = {os.path.realpath(path): path for path in wanted}
    found = set()
    for process in psutil.process_iter():
        try:
            opened = process.open_files()
        except (psutil.Error, OSError):  # gone meanwhile, or another user's
            continue
        found |= {real[each.path] for each in opened if each.path in real and getattr(each, "mode", "w") != "r"}
    return found


def unchanged(candidate: Candidate, folder: Path) -> bool:
    """Whether a recording is still what it was when it was looked at."""
    where = candidate.files[0].parent if candidate.files else folder
    try:
        stats = _stats(where, [file.name for file in candidate.files])
    except OSError:
        return False
    return _signature(stats, [file.name for file in candidate.files]) == candidate.entry.signature


def _is_settled(known: Entry | None, now: Entry, settle_s: float) -> bool:
    if known is None or known.signature != now.signature:
        return settle_s <= 0
    return now.seen_at - known.seen_at >= settle_s


def _folders(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    def cannot(error: OSError) -> None:
        raise error

    for where, folders, names in os.walk(folder, onerror=cannot):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(where), [name for name in names if not is_hidden(name)]


def _stats(where: Path, names: Iterable[str]) -> dict[str, tuple[int, int, int]]:
    found = {}
    for name in names:
        try:
            about = (where / name).stat()
        except FileNotFoundError:  # gone meanwhile, or a link to nothing
            continue
        if stat.S_ISREG(about.st_mode):
            found[name] = (about.st_size, about.st_mtime_ns, about.st_ino)
    return found


def _candidates(folder: Path, where: Path, stats: Stats, among: Among) -> Iterator[Candidate]:
    recordings = [name for name in stats if not name.endswith(SUFFIX)]
    for found in among(where, recordings):
        own = _files_of(found, where, stats)
        path = _shown(folder, Path(found.path))
        yield Candidate(Entry(path, _signature(stats, [file.name for file in own]), time.time()), found, own)


def _files_of(found: Found | Refused, where: Path, stats: Stats) -> tuple[Path, ...]:
    """A recording's files, and its sidecar where there is one: beside a file, or in a folder of pictures."""
    files = found.images if isinstance(found, Found) and found.images else (where / Path(found.path).name,)
    beside = SUFFIX if len(files) > 1 or (isinstance(found, Found) and found.images) else f"{files[0].name}{SUFFIX}"
    return (*files, where / beside) if beside in stats else tuple(files)


def _signature(stats: Stats, names: Iterable[str]) -> str:
    text = "\n".join(f"{name}\0{stats.get(name)}" for name in sorted(names))
    return hashlib.sha256(os.fsencode(text)).hexdigest()


def _shown(folder: Path, path: Path) -> str:
    return os.fsencode(os.path.relpath(path, folder)).decode("utf-8", "backslashreplace")
