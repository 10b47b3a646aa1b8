"""What is new in the landing bucket, brought to local disk and hashed."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Literal

from tasks.errors import DataError, NotFound, StorageUnavailable, UnreadableRecording
from tasks.escaping import visible_name
from tasks.ingest import sidecar
from tasks.ingest.formats import Format, format_of, supported
from tasks.ingest.names import safe_name, split_suffix
from tasks.ingest.sidecar import Sidecar
from tasks.lake import Lake, ObjectInfo
from tasks.lake.blobs import hash_file
from tasks.schemas import Landing, Oid, now

_NO_SUCH_KEY = "nightscope.asks-whether-you-are-well"
_SYSTEM_FILES = {"thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class Arrival:
    """A new object of the landing bucket. Either it is on disk, or it says why not.

    `fault`: it is none of ours. `delay`: it did not come through this time, by no fault of its own.
    """

    info: ObjectInfo
    name: str
    said: Sidecar = field(default_factory=Sidecar)
    fault: str | None = None
    format: Format | None = None
    folder: Path | None = None
    path: Path | None = None
    oid: Oid | None = None
    delay: str | None = None

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

    An object that the server lists and cannot give (a key it does not understand itself, a name too long for its disk)
    has a `fault`, one whose transfer breaks off a `delay`; neither keeps another from coming in.

    Args:
        lake: Where it is.
        info: As listed.
        scratch: A folder for it to get a folder in.
    """
    name = safe_name(info.key.rpartition("/")[2])
    for last in (False, True):
        try:
            return _brought(lake, info, scratch)
        except NotFound:
            # U+FFFD stands for what the server could not write: it finds nothing by it, a listing included.
            if not any(again == info for again in lake.landing.list(info.key.partition("\ufffd")[0])):
                return None
            fault = "it is listed by this key, and cannot be fetched by it"
        except DataError as error:
            fault = f"its key cannot be used: {error}"
        except StorageUnavailable as error:
            lake.landing.head(_NO_SUCH_KEY)  # raises, if it is the server that fails
            if last and _is_known(lake, info):
                return Arrival(info, name, delay=visible_name(f"its transfer broke off twice: {error}"))
            fault = f"the S3 server cannot deliver it: {error}"
        if last:
            break
    return Arrival(info, name, fault=visible_name(f"{fault}; put it again by a plain name"))


def _is_known(lake: Lake, info: ObjectInfo) -> bool:
    """Whether the server finds the object by its key: then only the way from there was bad."""
    try:
        return lake.landing.head(info.key) is not None
    except StorageUnavailable:
        return False


def _brought(lake: Lake, info: ObjectInfo, scratch: Path) -> Arrival | None:
    limit_gb, name = lake.settings.ingest.file_gb, safe_name(info.key.rpartition("/")[2])
    kind = format_of(name)
    if kind is None:
        suffix = split_suffix(name)[1]
        return Arrival(info, name, fault=f"the suffix {suffix or '(none)'!r} is no recording's; expected {supported()}")
    if info.size_bytes > limit_gb * 1e9:
        found, fix = f"it has {info.size_bytes / 1e9:.1f} GB", "split it, or raise NIGHTSCOPE_INGEST__FILE_GB"
        return Arrival(info, name, fault=f"{found}; expected at most {limit_gb:g}; to fix: {fix}")
    try:
        said = _sidecar_of(lake, info.key)
    except UnreadableRecording as error:
        return Arrival(info, name, fault=str(error))
    folder = Path(tempfile.mkdtemp(dir=scratch))
    path = folder / f"recording{split_suffix(name)[1].lower()}"
    try:
        lake.landing.get_file(info.key, path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if path.stat().st_size != info.size_bytes:
        return None
    return Arrival(info, _name(said, name), said, None, kind, folder, path, hash_file(path))


def _sidecar_of(lake: Lake, key: str) -> Sidecar:
    """What is said beside it. Asked for by its size first: it may be anything."""
    there, kind = lake.landing.head(sidecar.key_of(key)), sidecar.kind_of(key)
    if there is None:
        return kind()
    sidecar.check_size(there.size_bytes, kind)
    return sidecar.parse(lake.landing.get_bytes(there.key), kind)


def _name(said: Sidecar, landed_as: str) -> str:
    """The name that the sidecar states, if it has the suffix that decides how the file is read."""
    if said.name is None:
        return landed_as
    stated = safe_name(said.name)
    return stated if format_of(stated) is format_of(landed_as) else landed_as
