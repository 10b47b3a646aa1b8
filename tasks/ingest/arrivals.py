"""What is new in the landing bucket, brought to local disk and hashed."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Literal

from tasks.errors import NotFound, UnreadableRecording
from tasks.ingest import sidecar
from tasks.ingest.formats import Format, format_of, supported
from tasks.ingest.names import safe_name, split_suffix
from tasks.ingest.sidecar import Sidecar
from tasks.lake import Lake, ObjectInfo
from tasks.lake.blobs import hash_file
from tasks.schemas import Landing, Oid, now

_SYSTEM_FILES = {"thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class Arrival:
    """A new object of the landing bucket. Either `fault` says why it is none of ours, or it is on disk."""

    info: ObjectInfo
    name: str
    said: Sidecar = field(default_factory=Sidecar)
    fault: str | None = None
    format: Format | None = None
    folder: Path | None = None
    path: Path | None = None
    oid: Oid | None = None

    @property
    def stem(self) -> str:
        """The name without its suffix: what label files are matched against."""
        return split_suffix(self.name)[0]

    def landing(
        self,
        became: Literal["ingested", "duplicate", "quarantined"],
        recording_id: Oid | None,
        reason: str | None = None,
    ) -> Landing:
        """The row that says what became of it."""
        return Landing(
            key=self.info.key,
            etag=self.info.etag,
            size_bytes=self.info.size_bytes,
            modified_at=self.info.modified_at,
            recording_id=recording_id,
            outcome=became,
            reason=reason,
            seen_at=now(),
        )


def new_in_landing(lake: Lake) -> list[ObjectInfo]:
    """Objects that no earlier night has dealt with, oldest first; sidecars and hidden files are none.

    An object that was overwritten is new again. One listing and one table scan, whatever the size of the recordings.
    """
    there = [info for info in lake.landing.list() if _may_be_recording(info.key)]
    if not there:
        return []
    rows = lake.tables.scan("landings", columns=["key", "etag", "size_bytes", "modified_at"])
    seen = set(zip(*(rows.column(name).to_pylist() for name in rows.column_names), strict=True))
    new = [i for i in there if (i.key, i.etag, i.size_bytes, i.modified_at.astimezone(UTC)) not in seen]
    return sorted(new, key=lambda info: (info.modified_at, info.key))


def _may_be_recording(key: str) -> bool:
    parts = key.split("/")
    hidden = any(part.startswith(".") for part in parts)
    return not (hidden or key.endswith((sidecar.SUFFIX, "/")) or parts[-1].lower() in _SYSTEM_FILES)


def bring(lake: Lake, info: ObjectInfo, scratch: Path) -> Arrival | None:
    """Download one object and hash it; None if it has gone or changed meanwhile (then the next night sees to it).

    Args:
        lake: Where it is.
        info: As listed.
        scratch: A folder for it to get a folder in.
    """
    name = safe_name(info.key.rpartition("/")[2])
    kind = format_of(name)
    if kind is None:
        suffix = split_suffix(name)[1]
        return Arrival(info, name, fault=f"the suffix {suffix or '(none)'!r} is no recording's; expected {supported()}")
    try:
        said = _sidecar_of(lake, info.key)
    except UnreadableRecording as error:
        return Arrival(info, name, fault=str(error))
    folder = Path(tempfile.mkdtemp(dir=scratch))
    path = folder / f"recording{split_suffix(name)[1].lower()}"
    try:
        lake.landing.get_file(info.key, path)
    except NotFound:
        return None
    if path.stat().st_size != info.size_bytes:
        return None
    return Arrival(info, _name(said, name), said, None, kind, folder, path, hash_file(path))


def _sidecar_of(lake: Lake, key: str) -> Sidecar:
    info = lake.landing.head(sidecar.key_of(key))
    if info is None:
        return Sidecar()
    sidecar.check_size(info.size_bytes)  # before it is held in memory
    try:
        return sidecar.parse(lake.landing.get_bytes(info.key))
    except NotFound:
        return Sidecar()


def _name(said: Sidecar, landed_as: str) -> str:
    """The name that the sidecar states, if it has the suffix that decides how the file is read."""
    if said.name is None:
        return landed_as
    stated = safe_name(said.name)
    return stated if format_of(stated) is format_of(landed_as) else landed_as
