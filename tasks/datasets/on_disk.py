"""A dataset version on local disk: what every kind's layout needs to lay one out once, whole, and cheaply.

Pictures are hard links into the blob cache, which is named by content, so a version that shares frames with an earlier
one only links them; where links are impossible (another file system) files are copied. A layout is built beside its
folder and moved there when it is whole; its marker is written last, and names what made it: a layout of another release
is made anew.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from tasks.lake import Lake
from tasks.lake.locks import machine_lock
from tasks.schemas import canonical_json

MARKER = "complete.json"
SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png"}
_COUNTED = (".jpg", ".png", ".txt")
# What tells us that a file cannot be linked here, but may be copied.
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}

Files = Mapping[str, int]
"""Folder of the layout -> how many files it holds."""


def laid_out(
    lake: Lake, version: str, root: Path | None, index: str, code: str, build: Callable[[Path, Path], Files]
) -> Path:
    """Lay a version out in `<root>/<version>`, unless it is there already.

    Args:
        lake: For its lock and its working folder.
        version: The dataset version.
        root: Folder that holds the layouts; None: `<work_dir>/datasets`.
        index: Name of the file that a training is given.
        code: What the layout is made by; another code, another layout.
        build: Given the folder to build in, and the one that it will be, it writes everything.

    Returns:
        Path of `index`.
    """
    root = (root or lake.settings.work_dir / "datasets").resolve()
    folder = root / version
    if not is_complete(folder, index, code):
        with machine_lock(lake.settings, f"materialise-{version[:16]}"):
            if not is_complete(folder, index, code):
                _build(folder, version, code, build)
    return folder / index


def is_complete(folder: Path, index: str, code: str) -> bool:
    """Whether the marker is there, of this code, and every folder still holds as many files as it says."""
    try:
        marker = json.loads((folder / MARKER).read_text())
        files = dict(marker["files"])
        written = marker["code"] == code and (folder / index).is_file()
        return written and all(_count(folder / sub) == n for sub, n in files.items())
    except (FileNotFoundError, ValueError, KeyError):
        return False


def _count(folder: Path) -> int:
    """Images or labels in a folder; trainers leave caches of their own beside them."""
    with os.scandir(folder) as entries:
        return sum(entry.name.endswith(_COUNTED) for entry in entries)


def _build(folder: Path, version: str, code: str, build: Callable[[Path, Path], Files]) -> None:
    part = folder.with_name(f".{folder.name}.part")
    for leftover in (part, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    part.mkdir(parents=True)
    files = build(part, folder)
    (part / MARKER).write_text(canonical_json({"version": version, "files": files, "code": code}))
    part.replace(folder)


def image_name(row: Mapping[str, Any]) -> str:
    """The file name of a manifest row's frame: readable, safe, and unique within a version.

    Args:
        row: Columns recording_name, recording_id, frame_index, media_type.
    """
    stem = f"{_readable(row['recording_name'])}-{row['recording_id'][:12]}_{row['frame_index']:06d}"
    return stem + SUFFIXES[row["media_type"]]


@lru_cache(maxsize=4096)
def _readable(recording_name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", Path(recording_name).stem).strip("_")[:40] or "recording"


def link(source: str, target: str) -> None:
    """Make a hard link, or a copy where there can be none."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(source, target)
