"""Where stills come from: a folder, a ZIP, or a prefix of an S3 bucket."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from tasks.errors import ConfigError, DataError, NotFound, UnreadableRecording
from tasks.ingest.formats import STILL_SUFFIXES
from tasks.ingest.names import natural_key, split_suffix
from tasks.ingest.packing import check_entries
from tasks.ingest.stills.batches import MAX_PICTURE_BYTES
from tasks.ingest.stills.masks import masks_among
from tasks.lake import Lake
from tasks.lake.object_store import ObjectStore

_MAX_TABLE_BYTES = 2**26
_AHEAD, _AHEAD_BYTES = 32, 2**28


@dataclass(frozen=True)
class Unread:
    """A picture that could not be read, and why."""

    reason: str


class Source(Protocol):
    """Pictures, by their paths relative to where they come from, with `/` between the parts.

    Attributes:
        name: What it is called, for the batches' names.
        pictures: In natural order.
        masks: How many files are masks of the pictures.
        others: How many other files are no pictures.
        tables: CSV files, by path: those within, and beside it.
    """

    name: str
    pictures: Sequence[str]
    masks: int
    others: int
    tables: Sequence[str]

    def read(self, wanted: Sequence[str]) -> Iterator[tuple[str, bytes | Unread]]:
        """The bytes of pictures, in the order wanted, a bounded number of them in memory."""

    def table(self, path: str) -> bytes:
        """A CSV file's bytes."""


@contextmanager
def opened(lake: Lake, place: str) -> Iterator[Source]:
    """Open what somebody named.

    Args:
        lake: Whose keys open buckets.
        place: A folder, a ZIP file, or `s3://bucket/prefix`.

    Raises:
        ConfigError: It is none of these, or holds no picture.
    """
    if place.startswith("s3://"):
        source: Source = _of_bucket(lake, place)
        yield _with_pictures(source, place)
        return
    path = Path(place)
    if path.is_dir():
        yield _with_pictures(_of_folder(path), place)
    elif path.is_file() and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield _with_pictures(_of_zip(path, archive), place)
    else:
        found = "no such file or folder" if not path.exists() else "a file that is no ZIP"
        raise ConfigError(f"add --stills: {place}", expected="a folder, a ZIP file, or s3://bucket/prefix", found=found)


def _with_pictures(source: Source, place: str) -> Source:
    if not source.pictures:
        raise ConfigError(
            f"add --stills: {place} holds no picture",
            expected=", ".join(STILL_SUFFIXES),
            found=f"{source.others} other files",
        )
    return source


def _is_picture(path: str) -> bool:
    return split_suffix(path.rpartition("/")[2])[1].lower() in STILL_SUFFIXES


def _is_hidden(path: str) -> bool:
    parts = path.split("/")
    return parts[0] == "__MACOSX" or any(part.startswith(".") for part in parts)


def _sorted(paths: Sequence[str]) -> tuple[list[str], int]:
    """The pictures, and how many of the files are masks of them."""
    found = [path for path in paths if _is_picture(path)]
    masks = masks_among(found)
    return sorted((path for path in found if path not in masks), key=natural_key), len(masks)


@dataclass
class _Folder:
    path: Path
    name: str
    pictures: Sequence[str]
    masks: int
    others: int
    tables: Sequence[str]

    def read(self, wanted: Sequence[str]) -> Iterator[tuple[str, bytes | Unread]]:
        for name in wanted:
            path = self.path / name
            try:
                if path.stat().st_size > MAX_PICTURE_BYTES:
                    yield name, _too_large(path.stat().st_size)
                else:
                    yield name, path.read_bytes()
            except OSError as error:
                yield name, Unread(f"cannot be read: {error.strerror or error}")

    def table(self, path: str) -> bytes:
        return _local_table(self.path / path)


def _of_folder(path: Path) -> _Folder:
    names, links = [], 0
    for where, folders, files in os.walk(path):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        base = Path(where).relative_to(path)
        for name in files:
            if (Path(where) / name).is_file():
                names.append((base / name).as_posix())
            else:
                links += 1
    shown = [name for name in names if not _is_hidden(name)]
    pictures, masks = _sorted(shown)
    within = sorted(name for name in shown if name.lower().endswith(".csv"))
    name = path.resolve().name
    return _Folder(path, name, pictures, masks, len(shown) - len(pictures) - masks + links, [*within, *_beside(path)])


def _beside(path: Path) -> list[str]:
    """CSV files in the folder that holds a folder or file."""
    try:
        return sorted(str(each) for each in path.resolve().parent.glob("*.csv") if each.is_file())
    except OSError:
        return []


@dataclass
class _Zip:
    archive: zipfile.ZipFile
    name: str
    pictures: Sequence[str]
    masks: int
    others: int
    tables: Sequence[str]
    entries: dict[str, zipfile.ZipInfo] = field(default_factory=dict)

    def read(self, wanted: Sequence[str]) -> Iterator[tuple[str, bytes | Unread]]:
        for name in wanted:
            yield name, self._read(self.entries[name], MAX_PICTURE_BYTES)

    def _read(self, entry: zipfile.ZipInfo, most: int) -> bytes | Unread:
        if entry.file_size > most:
            return _too_large(entry.file_size)
        try:
            with self.archive.open(entry) as packed:
                return packed.read(entry.file_size + 1)  # with a number: without, it inflates whatever comes
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError) as error:
            return Unread(f"cannot be taken out of the ZIP: {error}")

    def table(self, path: str) -> bytes:
        if path not in self.entries:
            return _local_table(Path(path))
        data = self._read(self.entries[path], _MAX_TABLE_BYTES)
        if isinstance(data, Unread):
            raise ConfigError(f"{path}: {data.reason}")
        return data


def _of_zip(path: Path, archive: zipfile.ZipFile) -> _Zip:
    entries = {
        entry.filename.replace("\\", "/"): entry
        for entry in archive.infolist()
        if not entry.is_dir() and not _is_hidden(entry.filename.replace("\\", "/"))
    }
    safe = {name: entry for name, entry in entries.items() if ".." not in PurePosixPath(name).parts}
    try:
        check_entries(archive, list(safe.values()))
    except UnreadableRecording as error:
        raise ConfigError(f"add --stills: {path}: {error}") from error
    pictures, masks = _sorted(list(safe))
    within = sorted(name for name in safe if name.lower().endswith(".csv"))
    name = split_suffix(path.name)[0]
    return _Zip(archive, name, pictures, masks, len(entries) - len(pictures) - masks, [*within, *_beside(path)], safe)


@dataclass
class _Bucket:
    store: ObjectStore
    prefix: str
    threads: int
    name: str
    pictures: Sequence[str]
    masks: int
    others: int
    tables: Sequence[str]
    sizes: dict[str, int] = field(default_factory=dict)

    def read(self, wanted: Sequence[str]) -> Iterator[tuple[str, bytes | Unread]]:
        ahead, size_bytes = deque[tuple[str, Future[bytes | Unread]]](), 0
        with ThreadPoolExecutor(self.threads) as threads:
            for name in wanted:
                ahead.append((name, threads.submit(self._read, name)))
                size_bytes += self.sizes[name]
                while ahead and (len(ahead) >= _AHEAD or size_bytes > _AHEAD_BYTES):
                    first, future = ahead.popleft()
                    size_bytes -= self.sizes[first]
                    yield first, future.result()
            for name, future in ahead:
                yield name, future.result()

    def _read(self, name: str) -> bytes | Unread:
        if self.sizes[name] > MAX_PICTURE_BYTES:
            return _too_large(self.sizes[name])
        try:
            return self.store.get_bytes(self.prefix + name)
        except DataError as error:  # gone meanwhile, or a key that the server does not understand itself
            return Unread(f"cannot be fetched: {error}")

    def table(self, path: str) -> bytes:
        if self.sizes.get(path, 0) > _MAX_TABLE_BYTES:
            raise ConfigError(f"{path}: has {self.sizes[path]} bytes", expected=f"a CSV of at most {_MAX_TABLE_BYTES}")
        try:
            return self.store.get_bytes(self.prefix + path) if path in self.sizes else _local_table(Path(path))
        except NotFound as error:
            raise ConfigError(str(error)) from error


def _of_bucket(lake: Lake, place: str) -> _Bucket:
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    if not bucket:
        raise ConfigError(f"add --stills: {place}", expected="s3://bucket/prefix")
    settings = lake.settings
    threads = settings.workers * 4
    store = ObjectStore(settings.s3.by(settings.s3.landing), bucket, connections=threads)
    prefix = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
    sizes = {info.key.removeprefix(prefix): info.size_bytes for info in store.list(prefix)}
    shown = [name for name in sizes if not _is_hidden(name)]
    pictures, masks = _sorted(shown)
    tables = sorted(name for name in shown if name.lower().endswith(".csv"))
    name = prefix.rstrip("/").rpartition("/")[2] or bucket
    return _Bucket(store, prefix, threads, name, pictures, masks, len(shown) - len(pictures) - masks, tables, sizes)


def _local_table(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_TABLE_BYTES:
            raise ConfigError(f"{path}: is too large", expected=f"a CSV of at most {_MAX_TABLE_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error


def _too_large(size_bytes: int) -> Unread:
    return Unread(f"has {size_bytes / 2**20:.0f} MiB; expected a picture of at most {MAX_PICTURE_BYTES / 2**20:.0f}")
