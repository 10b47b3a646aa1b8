"""Batches of stills in the landing bucket: packing them, what waits in them, and taking pictures out of them again."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType

from tasks.errors import UnreadableRecording
from tasks.ingest import sidecar
from tasks.ingest.landing import landing_key
from tasks.ingest.names import safe_name, split_suffix
from tasks.ingest.packing import check_entries, stored_entry
from tasks.ingest.sidecar import BatchSidecar, StillLabels
from tasks.lake import Lake
from tasks.lake.blobs import hash_file
from tasks.schemas import Oid

SUFFIX = sidecar.BATCH_SUFFIX
MAX_PICTURES, MAX_BYTES = 2000, 2**28
"""Of one batch: the night commits its tables once for each."""
MAX_PICTURE_BYTES = 2**30


def is_batch(key: str) -> bool:
    """Whether a landing object is a batch of stills, by its name."""
    return key.lower().endswith(SUFFIX)


def parts_of(key: str) -> tuple[str, str] | None:
    """The batch's key, and the name in it, of where a still landed; None for any other recording."""
    end = key.lower().find(f"{SUFFIX}/")
    return None if end < 0 else (key[: end + len(SUFFIX)], key[end + len(SUFFIX) + 1 :])


def safe_member(path: str) -> str:
    """A picture's relative path as it stands in a batch, and behind the batch's key: harmless parts only."""
    *folders, name = path.encode("utf-8", "replace").decode().split("/")
    return "/".join([*(safe_name(folder, fallback="folder") for folder in folders), safe_name(name)])


class Packer:
    """A batch as it grows, in a file. The same pictures, in the same order, are the same bytes.

    Args:
        folder: For the file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(dir=folder, prefix="stills-")
        self.path = Path(self._folder.name) / "batch.zip"
        self._archive = zipfile.ZipFile(self.path, "w", zipfile.ZIP_STORED)
        self.labels: dict[str, StillLabels] = {}
        self.size_bytes = 0

    def __enter__(self) -> Packer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove what was packed."""
        self._archive.close()
        self._folder.cleanup()

    def add(self, member: str, data: bytes, labels: StillLabels) -> str:
        """Put a picture in; its name in the batch, which is another one where that is taken."""
        stem, suffix = split_suffix(member)
        number = 1
        while member in self.labels:
            number += 1
            member = f"{stem} ({number}){suffix}"
        self._archive.writestr(stored_entry(member, len(data)), data)
        self.labels[member] = labels
        self.size_bytes += len(data)
        return member

    @property
    def is_full(self) -> bool:
        """Whether it should land."""
        return len(self.labels) >= MAX_PICTURES or self.size_bytes >= MAX_BYTES

    def land(self, lake: Lake, study: str | None, name: str) -> str:
        """Put the batch into the landing bucket; its key."""
        self._archive.close()
        key = landing_key(study, hash_file(self.path), safe_name(f"{name}{SUFFIX}"))
        # The sidecar first: a batch that is there has its metadata.
        put_labels(lake, key, self.labels)
        lake.landing.put_file(key, self.path)
        return key

    def replace(self, lake: Lake, key: str) -> None:
        """Put the batch where another one is."""
        self._archive.close()
        put_labels(lake, key, self.labels)
        lake.landing.put_file(key, self.path)


def put_labels(lake: Lake, key: str, labels: Mapping[str, StillLabels]) -> None:
    """Write what is said about a batch's pictures."""
    data = BatchSidecar(pictures=dict(labels)).as_bytes()
    lake.landing.put_bytes(sidecar.key_of(key), data, "application/json")


def landed(lake: Lake) -> Iterator[tuple[str, BatchSidecar]]:
    """Every batch of the landing bucket that has readable metadata, by key."""
    infos = {info.key: info for info in lake.landing.list()}
    for key in infos:
        beside = infos.get(sidecar.key_of(key))
        if is_batch(key) and beside is not None:
            try:
                sidecar.check_size(beside.size_bytes, BatchSidecar)
                yield key, sidecar.parse(lake.landing.get_bytes(beside.key), BatchSidecar)
            except UnreadableRecording:  # the night says so
                continue


def without(lake: Lake, key: str, oids: Collection[Oid], members: Collection[str]) -> int:
    """Take pictures out of a batch for good, by their sha256 or their names; the whole batch where none is left.

    A batch that changed is new to the next night, which knows its other pictures.

    Returns:
        How many pictures went.
    """
    if lake.landing.head(key) is None:
        return 0
    said, gone = _said(lake, key), 0
    lake.settings.work_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=lake.settings.work_dir, prefix="stills-") as folder:
        path = Path(folder) / "batch.zip"
        lake.landing.get_file(key, path)
        with Packer(Path(folder)) as left:
            for name, data in _contents(path):
                oid = None if data is None else hashlib.sha256(data).hexdigest()
                if data is None or name in members or oid in oids:
                    gone += 1
                else:
                    left.add(name, data, said.of(name).model_copy(update={"oid": oid}))
            if gone and left.labels:
                left.replace(lake, key)
    if not left.labels:
        lake.landing.remove(key)
        lake.landing.remove(sidecar.key_of(key))
    return gone


def _contents(path: Path) -> Iterator[tuple[str, bytes | None]]:
    """A batch's entries; None where one cannot be taken out, nothing at all where it is no ZIP."""
    try:
        archive = zipfile.ZipFile(path)
        check_entries(archive, archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, UnreadableRecording):
        return
    with archive:
        for entry in archive.infolist():
            try:
                with archive.open(entry) as packed:
                    data: bytes | None = packed.read(entry.file_size + 1)
            except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError):
                data = None
            yield entry.filename, data


def _said(lake: Lake, key: str) -> BatchSidecar:
    there = lake.landing.head(sidecar.key_of(key))
    if there is None:
        return BatchSidecar()
    try:
        sidecar.check_size(there.size_bytes, BatchSidecar)
        return sidecar.parse(lake.landing.get_bytes(there.key), BatchSidecar)
    except UnreadableRecording:
        return BatchSidecar()
