"""A judgement on a picture as a file has it, and the pictures that lie beside labels."""

from __future__ import annotations

import hashlib
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.ingest.formats import STILL_SUFFIXES
from tasks.schemas import Oid

_CHUNK = 2**20
MAX_PICTURE_BYTES = 2**28
"""A picture in a ZIP that says it is larger is not unpacked."""


@dataclass(frozen=True)
class Judged:
    """What a file says of one class.

    Attributes:
        label: The class, in the file's words.
        present: Whether the picture shows it.
    """

    label: str
    present: bool = True


@dataclass(frozen=True)
class Picture:
    """A picture that lies beside labels, or is one by its folder.

    Attributes:
        path: Relative, with `/`.
        oid: Gives the sha256 of its bytes. Raises `ValueError` or `OSError` where they cannot be read.
    """

    path: str
    oid: Callable[[], Oid]

    @property
    def folders(self) -> list[str]:
        """The folders that hold it, the outermost first."""
        return self.path.split("/")[:-1]


def pictures_in(place: Path) -> Iterator[Picture]:
    """Every picture in a folder or a ZIP file, by name; hidden files are passed over."""
    if place.is_dir():
        for path in sorted(place.rglob("*")):
            name = path.relative_to(place).as_posix()
            if is_picture(name) and path.is_file():
                yield Picture(name, lambda path=path: oid_of(path))  # type: ignore[misc]
        return
    with zipfile.ZipFile(place) as archive:
        for entry in sorted(archive.infolist(), key=lambda each: each.filename):
            name = entry.filename.replace("\\", "/")
            if is_picture(name) and not entry.is_dir():
                yield Picture(name, lambda entry=entry: _oid_in(archive, entry))  # type: ignore[misc]


def is_picture(name: str) -> bool:
    """Whether a path is a picture's, by its suffix. Hidden files are none."""
    parts = name.split("/")
    hidden = parts[0] == "__MACOSX" or any(part.startswith(".") for part in parts)
    return not hidden and name.lower().endswith(STILL_SUFFIXES)


def oid_of(path: Path) -> Oid:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _oid_in(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Oid:
    if entry.file_size > MAX_PICTURE_BYTES:
        raise ValueError(f"it has {entry.file_size} bytes, and at most {MAX_PICTURE_BYTES} are read")
    digest, left = hashlib.sha256(), entry.file_size + 1  # counted: without, it inflates whatever comes
    try:
        with archive.open(entry) as packed:
            while left > 0 and (data := packed.read(min(left, _CHUNK))):
                digest.update(data)
                left -= len(data)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, NotImplementedError, EOFError) as error:
        raise ValueError(str(error)) from error
    return digest.hexdigest()
