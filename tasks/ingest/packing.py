"""Folders of images packed into one file: a recording is one object in the landing bucket."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tasks.errors import UnreadableRecording
from tasks.ingest.names import natural_key
from tasks.ingest.naming import Naming

SUFFIX = ".frames.zip"
_LOCAL_HEADER_BYTES = 30
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def pack(images: Sequence[Path], target: Path, called: Naming | None = None) -> None:
    """Write images, in natural order of their names, into a ZIP that is the same bytes for the same images.

    Stored, not compressed: images are compressed already, and single ones can be read in place. Neither times nor
    permissions get in.

    Args:
        images: Files.
        target: The ZIP.
        called: What images are called in the ZIP; None: as they are.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for place, image in enumerate(sorted(images, key=lambda path: natural_key(path.name))):
            name = called.picture(place, image.name) if called else image.name
            entry = stored_entry(name, image.stat().st_size)
            with image.open("rb") as source, archive.open(entry, "w") as packed:
                shutil.copyfileobj(source, packed, 2**20)


def stored_entry(name: str, size_bytes: int) -> zipfile.ZipInfo:
    """An entry without times or permissions."""
    entry = zipfile.ZipInfo(name.encode("utf-8", "replace").decode(), date_time=_NO_TIME)
    entry.external_attr = 0o644 << 16
    entry.create_system = 3
    entry.file_size = size_bytes
    return entry


def check_entries(archive: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo]) -> None:
    """Look whether a ZIP's entries are what they say, before any is inflated.

    Raises:
        UnreadableRecording: Entries share their bytes (as bombs do), lie outside the file, or are compressed in a way
            whose output cannot be bounded.
    """
    end = 0
    for entry in sorted(archive.infolist(), key=lambda one: one.header_offset):
        if entry.header_offset < end or entry.header_offset + entry.compress_size > archive.start_dir:
            raise UnreadableRecording(
                f"the packed folder's entry {entry.filename!r} overlaps another, or lies outside the file: damage, or a"
                " decompression bomb",
                fix="pack the folder again",
            )
        end = entry.header_offset + _LOCAL_HEADER_BYTES + entry.compress_size
    for entry in entries:
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnreadableRecording(
                f"the packed folder's entry {entry.filename!r} is compressed by method {entry.compress_type}",
                expected="stored or deflated entries",
                fix="pack the folder with nightscope add",
            )
