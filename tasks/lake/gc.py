"""Collect what nothing refers to: what crashes leave behind, since manifests and table rows come last.

A blob is referenced when its oid stands anywhere in a row of a table, in a manifest, in any other JSON object of the
lake's bucket, or in a JSON blob that is itself referenced (a verdict's evaluation naming its predictions). What only
something outside the lake refers to (MLflow's model versions) must be named by the caller. A table's file is in use
when the table or a snapshot that it remembers consists of it. Whatever is younger than a grace period is kept in any
case: a step that runs now may be about to commit the row that names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING

from tasks.errors import DataError
from tasks.lake.lake import Lake
from tasks.lake.object_store import ObjectInfo, ObjectStore
from tasks.lake.table_schemas import TABLES
from tasks.schemas import Oid, now

if TYPE_CHECKING:
    import pyarrow as pa

GRACE = timedelta(days=7)
_OID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_BLOBS = "blobs/sha256/"
_TABLES = "tables/nightscope/"
_TEXT_MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Collection:
    """What a collection found, and did unless it was a dry run.

    Attributes:
        unreferenced: Oids of blobs older than the grace period that nothing refers to.
        table_files: Keys of table files older than the grace period that no table consists of any more.
        size_bytes: All of these together.
        kept_young: How many objects nothing refers to, but are still in their grace period.
        removed: How many objects were removed; 0 in a dry run.
    """

    unreferenced: tuple[Oid, ...]
    table_files: tuple[str, ...]
    size_bytes: int
    kept_young: int
    removed: int


def collect(
    lake: Lake,
    *,
    grace: timedelta = GRACE,
    dry_run: bool = True,
    protected: Iterable[Oid] = (),
    at: datetime | None = None,
) -> Collection:
    """Find what nothing refers to, and remove it unless this is a dry run.

    Args:
        lake: The lake.
        grace: What is younger is kept.
        dry_run: Only say what would go.
        protected: Oids that something outside the lake refers to (MLflow's model versions, say): kept, and looked into
            like any referenced blob.
        at: The moment that ages are counted from; default now.

    Raises:
        DataError: The lake holds files of a table that the catalog does not know. Then the catalog was lost or is
            another lake's, everything would look unreferenced, and nothing is removed.
    """
    # Objects first, references second: a row committed in between protects a blob that is already listed.
    blobs = {info.key.rsplit("/", 1)[1]: info for info in lake.store.list(_BLOBS)}
    files = list(lake.store.list(_TABLES))
    in_use = _files_in_use(lake, files)
    kept = referenced(lake, blobs, protected)
    before = (at or now()) - grace
    loose = [info for oid, info in sorted(blobs.items()) if oid not in kept]
    loose += [info for info in files if info.key not in in_use]
    old = [info for info in loose if info.modified_at <= before]
    if not dry_run:
        for info in old:
            lake.store.remove(info.key)
        lake.tables.forget_unused(before)
        _withdraw_frames(lake, before)
    return Collection(
        unreferenced=tuple(info.key.rsplit("/", 1)[1] for info in old if info.key.startswith(_BLOBS)),
        table_files=tuple(info.key for info in old if info.key.startswith(_TABLES)),
        size_bytes=sum(info.size_bytes for info in old),
        kept_young=len(loose) - len(old),
        removed=0 if dry_run else len(old),
    )


def _withdraw_frames(lake: Lake, before: datetime) -> None:
    """Remove what annotators are served of frames that the lake no longer knows."""
    known = set(lake.tables.scan("frames", columns=["oid"]).column("oid").to_pylist())
    for oid, info in lake.frames.published():
        if oid not in known and info.modified_at <= before:
            lake.frames.withdraw(oid)


def _files_in_use(lake: Lake, files: Sequence[ObjectInfo]) -> set[str]:
    """Keys of the files that tables consist of."""
    found: set[str] = set()
    for table in sorted({info.key.split("/")[2] for info in files}):
        uris = lake.tables.files_in_use(table) if table in TABLES else set()
        # A metadata file alone is what a killed maker of a table leaves: loose, and no reason to worry.
        if not uris and any(info.key.startswith(f"{_TABLES}{table}/data/") for info in files):
            raise DataError(
                f"s3://{lake.store.bucket}/{_TABLES}: holds rows of a table {table!r} that the catalog does not know",
                fix="nothing was removed; restore the catalog's database, or remove these files if they are not ours",
            )
        found |= {uri.removeprefix(f"s3://{lake.store.bucket}/") for uri in uris}
    return found


def referenced(lake: Lake, blobs: Mapping[Oid, ObjectInfo], protected: Iterable[Oid] = ()) -> set[Oid]:
    """Which of these blobs something refers to, directly or through referenced JSON blobs.

    Args:
        lake: The lake.
        blobs: The blobs in question.
        protected: Oids that something outside the lake refers to.
    """
    found = set(protected)
    for table in TABLES:
        found |= _oids_in_table(lake.tables.scan(table))
    for info in lake.store.list():
        if not info.key.startswith((_BLOBS, _TABLES)):
            found |= _oids_in_object(lake.store, info)
    found &= blobs.keys()
    # Images and recordings are many and name nothing: they need not be read.
    leaves = _oids_in_table(lake.tables.scan("frames", columns=["oid", "recording_id"]))
    leaves |= _oids_in_table(lake.tables.scan("recordings", columns=["recording_id", "pts_oid"]))
    todo = found - leaves
    while todo:
        named = {oid for one in todo for oid in _oids_in_blob(lake, one, blobs[one].size_bytes)} & blobs.keys()
        todo = named - found - leaves
        found |= named
    return found


def _oids_in_object(store: ObjectStore, info: ObjectInfo) -> set[Oid]:
    """What a manifest, its about.json or any other document outside blobs and tables names."""
    found = set(_OID.findall(info.key))
    if info.key.endswith(".parquet"):
        import pyarrow.parquet as pq

        rows = pq.read_table(BytesIO(store.get_bytes(info.key)))
        found |= _oids_in_table(rows)
        for value in (rows.schema.metadata or {}).values():
            found.update(_OID.findall(value.decode(errors="replace")))
    elif info.size_bytes <= _TEXT_MAX_BYTES and not info.key.endswith(".npz"):  # arrays: recordings' signatures
        found.update(_OID.findall(store.get_bytes(info.key).decode(errors="replace")))
    return found


def _oids_in_blob(lake: Lake, oid: Oid, size_bytes: int) -> set[Oid]:
    """What a JSON blob names; nothing for any other blob."""
    if size_bytes > _TEXT_MAX_BYTES:
        return set()
    if lake.store.peek(lake.blobs.key(oid))[:1] not in (b"{", b"["):  # weights and checkpoints are large, and many
        return set()
    return set(_OID.findall(lake.blobs.get_bytes(oid).decode(errors="replace")))


def _oids_in_table(rows: pa.Table) -> set[Oid]:
    import pyarrow as pa

    found: set[Oid] = set()
    for column in rows.columns:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            for value in column.unique().to_pylist():
                found.update(_OID.findall(value or ""))
    return found
