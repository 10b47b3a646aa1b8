"""Collect what nothing refers to: what crashes leave behind, since manifests and table rows come last.

A blob is referenced when its oid stands anywhere in a row of a table, in a manifest, in any other document of the
lake's bucket, or in a JSON blob that is itself referenced (a verdict's evaluation naming its predictions). What only
something outside the lake refers to (MLflow's model versions) must be named by the caller. A table's file is in use
when the table or a snapshot that it remembers consists of it. Whatever is younger than a grace period is kept in any
case: a step that runs now may be about to commit the row that names it.

Models are never fetched for this. MLflow's binary files are told by their names; a blob that a record calls weights, a
checkpoint or a file of a model is told by that record; of any other blob that may be a model the first byte is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from tasks.errors import DataError
from tasks.lake.blobs import BLOBS, named, oids_in
from tasks.lake.lake import Lake
from tasks.lake.object_store import ObjectInfo, ObjectStore
from tasks.lake.table_cache import FILES
from tasks.lake.table_schemas import TABLES
from tasks.schemas import Oid, now

if TYPE_CHECKING:
    import pyarrow as pa

GRACE = timedelta(days=7)
_TEXT_MAX_BYTES = 64 * 2**20
_BINARY = {
    ".bin", ".ckpt", ".engine", ".gz", ".joblib", ".jpeg", ".jpg", ".npy", ".npz", ".onnx", ".pickle", ".pkl", ".png",
    ".pt", ".pth", ".safetensors", ".torchscript", ".zip",
}  # fmt: skip
"""Ends of names of files that name no blobs: models, arrays and pictures. Of any other end a file may be a document:
what is read for nothing costs time, what is not read may cost the blobs that it names."""
_MODEL_FIELDS = ("weights", "checkpoint")
"""How the fields of records begin whose values are the blobs of a model."""


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
    blobs = {named(info.key): info for info in lake.store.list(BLOBS)}
    files = list(lake.store.list(FILES))
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
        unreferenced=tuple(named(info.key) for info in old if info.key.startswith(BLOBS)),
        table_files=tuple(info.key for info in old if info.key.startswith(FILES)),
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
        if not uris and any(info.key.startswith(f"{FILES}{table}/data/") for info in files):
            raise DataError(
                f"s3://{lake.store.bucket}/{FILES}: holds rows of a table {table!r} that the catalog does not know",
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
    seen = _Seen(set(protected), set())
    for table in TABLES:
        seen.oids |= _oids_in_table(lake.tables.scan(table))
    for info in lake.store.list():
        if info.key.startswith((BLOBS, FILES)):
            continue
        seen.oids |= oids_in(info.key)
        if _may_name_blobs(info):
            _look_into_object(lake.store, info, seen)
    # Images and recordings are many and name nothing: they need not be read.
    seen.leaves |= _oids_in_table(lake.tables.scan("frames", columns=["oid", "recording_id"]))
    seen.leaves |= _oids_in_table(lake.tables.scan("recordings", columns=["recording_id", "pts_oid"]))
    done: set[Oid] = set()
    while todo := (seen.oids & blobs.keys()) - seen.leaves - done:
        for oid in sorted(todo):
            _look_into_blob(lake, oid, blobs[oid].size_bytes, seen)
        done |= todo
    return seen.oids & blobs.keys()


@dataclass
class _Seen:
    """What was found so far.

    Attributes:
        oids: All that something names.
        leaves: Those of them that surely name nothing themselves, and need not be read.
    """

    oids: set[Oid]
    leaves: set[Oid]


def _may_name_blobs(info: ObjectInfo) -> bool:
    """Whether an object outside blobs and tables is a document, told by its name and size alone."""
    return info.size_bytes <= _TEXT_MAX_BYTES and not _is_binary(info.key)


def _is_binary(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in _BINARY


def _look_into_object(store: ObjectStore, info: ObjectInfo, seen: _Seen) -> None:
    """Take what a manifest, its about.json or any other document outside blobs and tables names."""
    if info.key.endswith(".parquet"):
        import pyarrow.parquet as pq

        rows = pq.read_table(BytesIO(store.get_bytes(info.key)))
        seen.oids |= _oids_in_table(rows)
        for value in (rows.schema.metadata or {}).values():
            seen.oids |= oids_in(value.decode(errors="replace"))
    else:
        _look_into_text(store.get_bytes(info.key), seen)


def _look_into_blob(lake: Lake, oid: Oid, size_bytes: int, seen: _Seen) -> None:
    """Take what a JSON blob names; nothing for any other blob, of which only the first byte is read."""
    if 2 <= size_bytes <= _TEXT_MAX_BYTES and lake.store.first_bytes(lake.blobs.key(oid), 1) in (b"{", b"["):
        _look_into_text(lake.blobs.get_bytes(oid), seen)


def _look_into_text(data: bytes, seen: _Seen) -> None:
    text = data.decode(errors="replace")
    seen.oids |= oids_in(text)
    try:
        seen.leaves.update(_model_oids(json.loads(text)))
    except (ValueError, RecursionError):  # no JSON: what it names may be anything
        return


def _model_oids(value: Any) -> Iterator[Oid]:
    """The blobs that a JSON document says are a model's: by the field's name, or by the file name it stands under."""
    if isinstance(value, list):
        for item in value:
            yield from _model_oids(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, str):
                if name.startswith(_MODEL_FIELDS) or _is_binary(name):
                    yield from oids_in(item)
            else:
                yield from _model_oids(item)


def _oids_in_table(rows: pa.Table) -> set[Oid]:
    import pyarrow as pa

    found: set[Oid] = set()
    for column in rows.columns:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            for value in column.unique().to_pylist():
                found |= oids_in(value or "")
    return found
