"""What this machine keeps beside the lake, and what of it may go. All of it can be made again.

    cache    copies of blobs and of tables, and what was worked out from them
    layouts  datasets as trainers read them: mostly hard links into the cache
    scratch  folders of trainings, exports and steps; those of steps that were killed stay behind
    uploads  what an embedded S3 server had received of an object when it was killed

A file was last used when it was last read, linked or made, as far as the file system notes it: with `relatime`, as
usual, to the day; with `noatime` reading leaves no trace, and what is read often is fetched again in the end.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from stat import S_ISDIR
from typing import Literal, get_args

from tasks.config import Settings
from tasks.errors import StorageUnavailable
from tasks.lake.locks import at_work
from tasks.schemas import now

Area = Literal["cache", "layouts", "scratch", "uploads"]
AREAS: tuple[Area, ...] = get_args(Area)
ABANDONED = timedelta(days=2)
"""A step ends within half a day, an upload sooner: of what is older than this, nobody is at work on it."""
IN_USE = timedelta(days=1)
"""Whatever the limits are, what was used within it stays."""
_UPLOAD = ".rclone_temp_put_*"
_LASTING = ("datasets", "training", "exports")
"""Folders of scratch that hold one folder for each piece of work; all else is one piece of work itself."""


@dataclass(frozen=True)
class Piece:
    """A file or folder that goes as a whole.

    Attributes:
        files: Device and inode of each of its files, and its size in bytes: files are shared by hard links.
        used_at: When the latest of them was last used, seconds since 1970.
    """

    area: Area
    path: Path
    files: tuple[tuple[tuple[int, int], int], ...]
    used_at: float


@dataclass(frozen=True)
class LocalSpace:
    """What goes, or has gone.

    Attributes:
        pieces: Of each area, in the order of `AREAS`: how many files and folders.
        size_bytes: What that frees, each shared file counted once, and only where its last link goes.
        kept_bytes: What all areas hold afterwards.
        removed: Whether it was removed, or only found.
    """

    pieces: dict[str, int]
    size_bytes: int
    kept_bytes: int
    removed: bool


def free(settings: Settings, *, dry_run: bool = True, at: datetime | None = None) -> LocalSpace:
    """Find what has not been used for long or is too much (`settings.local_space`), and remove it unless a dry run.

    Raises:
        StorageUnavailable: Something is at work on this machine whose folders might go; nothing was removed.
    """
    moment = (at or now()).timestamp()
    pieces = list(_pieces(settings))
    going = _going(pieces, settings, moment)
    gone = {piece.path for piece in going}
    held, kept = _sizes(pieces), _sizes(piece for piece in pieces if piece.path not in gone)
    if going and not dry_run:
        if running := at_work(settings):
            raise StorageUnavailable(
                f"at work on this machine: {', '.join(running)}",
                expected="no training, export, layout of a dataset or evaluation while caches and scratch are cleared",
                found=f"{len(running)} locks held",
                fix="wait for it, and run this again; the next week does it by itself",
            )
        for piece in going:
            _remove(piece, settings)
    counts = Counter(piece.area for piece in going)
    return LocalSpace(
        pieces={area: counts[area] for area in AREAS},
        size_bytes=held - kept,
        kept_bytes=kept,
        removed=not dry_run,
    )


def _going(pieces: Sequence[Piece], settings: Settings, moment: float) -> list[Piece]:
    """What is old, then the least recently used until the rest is small enough."""
    limits = settings.local_space
    oldest = {
        "cache": limits.keep_days * 86_400, "layouts": limits.keep_days * 86_400,
        "scratch": ABANDONED.total_seconds(), "uploads": ABANDONED.total_seconds(),
    }  # fmt: skip
    going = [piece for piece in pieces if moment - piece.used_at > oldest[piece.area]]
    if limits.most_gb is None:
        return going
    names = {piece.path for piece in going}
    left = [piece for piece in pieces if piece.path not in names]
    too_much = _sizes(left) - limits.most_gb * 1e9
    links = Counter(inode for piece in left for inode, _ in piece.files)
    # Layouts before files of the cache of the same age: they hold links to them.
    for piece in sorted(left, key=lambda each: (each.used_at, each.area != "layouts", each.path)):
        if too_much <= 0 or moment - piece.used_at <= IN_USE.total_seconds():
            break
        going.append(piece)
        for inode, size in piece.files:
            links[inode] -= 1
            too_much -= size if not links[inode] else 0
    return going


def _sizes(pieces: Iterable[Piece]) -> int:
    """Bytes on the disk, shared files once."""
    return sum(dict(file for piece in pieces for file in piece.files).values())


def _pieces(settings: Settings) -> Iterator[Piece]:
    """Everything that may go some day."""
    cache, work = settings.cache_dir, settings.work_dir
    for path in _files_below(cache):
        yield _piece("cache", path, [path])
    for folder in [work / name for name in _LASTING] + [work]:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if not (folder == work and path.name in _LASTING):
                area: Area = "layouts" if folder.name == "datasets" and folder != work else "scratch"
                yield _piece(area, path, _files_below(path) if path.is_dir() and not path.is_symlink() else [path])
    for root in sorted(settings.state_dir.glob("s3*")):
        for path in sorted(root.rglob(_UPLOAD)) if not root.is_symlink() else ():
            if path.is_file() and not path.is_symlink():
                yield _piece("uploads", path, [path])


def _files_below(folder: Path) -> list[Path]:
    """Files and links of all folders below one; a link is not followed."""
    return [Path(place, name) for place, _, names in os.walk(folder) for name in sorted(names)]


def _piece(area: Area, path: Path, files: Iterable[Path]) -> Piece:
    found: list[tuple[tuple[int, int], int]] = []
    used_at = 0.0
    for file in [path, *files]:
        try:
            stat = file.lstat()
        except FileNotFoundError:  # a step that ended just now took it away
            continue
        if S_ISDIR(stat.st_mode):  # looking into one is no use of it
            used_at = max(used_at, stat.st_ctime)
            continue
        used_at = max(used_at, stat.st_ctime, stat.st_atime)
        found.append(((stat.st_dev, stat.st_ino), stat.st_size))
    return Piece(area, path, tuple(dict(found).items()), used_at)


def _remove(piece: Piece, settings: Settings) -> None:
    if piece.path.is_dir() and not piece.path.is_symlink():
        # Renamed first: a layout that is half there must not pass for one.
        gone = piece.path.with_name(f".{piece.path.name}.going")
        piece.path.replace(gone)
        shutil.rmtree(gone, ignore_errors=True)
        return
    piece.path.unlink(missing_ok=True)
    for folder in piece.path.parents:
        if folder in (settings.cache_dir, settings.work_dir, settings.state_dir) or piece.area != "cache":
            return
        try:
            folder.rmdir()
        except OSError:  # not empty
            return
