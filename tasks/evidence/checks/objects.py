"""Are all objects that the bundles name still what they were: read from the store, and hashed again, side by side."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

from tasks.errors import NotFound
from tasks.evidence.bundle import Bundle
from tasks.evidence.checks.erased import excuse
from tasks.evidence.checks.findings import Cause, Findings
from tasks.lake import Lake
from tasks.schemas import Oid

if TYPE_CHECKING:
    import pyarrow as pa

_SLOW = ("recording ",)
"""What these begin with is large: left out by a quick verification, as frames are."""


@dataclass
class _Object:
    what: str
    bundles: set[int] = field(default_factory=set)


def check_objects(lake: Lake, bundles: Iterable[Bundle], found: Findings, *, quick: bool) -> None:
    """Hash everything again that the bundles name, each object once, and compare it with what each of them says.

    Args:
        lake: One that remembers nothing.
        bundles: Whose objects.
        found: Hears what is wrong.
        quick: Leave out recordings and frames.
    """
    chosen = list(bundles)
    wanted: dict[tuple[str, Oid], _Object] = {}
    for bundle in chosen:
        for named in bundle.objects:
            if not (quick and named.what.startswith(_SLOW)):
                wanted.setdefault((named.key, named.sha256), _Object(named.what)).bundles.add(bundle.number)
        for gap in bundle.missing:
            found.note(f"evidence {bundle.number}: was recorded without {gap}")
    if quick:
        found.note("quick: recordings and frames were not read")
    else:
        _add_frames(lake, chosen, wanted, found)
    with ThreadPoolExecutor(lake.settings.workers * 4) as threads:
        keys = sorted({key for key, _ in wanted})
        answers = dict(zip(keys, threads.map(lambda key: _look(lake, key), keys), strict=True))
    tombstones = lake.tombstones.all()
    for (key, sha256), one in wanted.items():
        there, _ = answers[key]
        if there != sha256 and not excuse(lake, tombstones, key, sha256, there, found):
            thing = f"{one.what} (s3://{lake.store.bucket}/{key})"
            cause: Cause = "missing" if there is None else "changed"
            found.add(thing, f"sha256 {sha256}", there or "no such object", cause, one.bundles)
    found.count("bytes", sum(size_bytes for _, size_bytes in answers.values()))
    found.count("objects", len(keys))


def _add_frames(lake: Lake, bundles: list[Bundle], wanted: dict[tuple[str, Oid], _Object], found: Findings) -> None:
    by_version: dict[Oid, set[int]] = {}
    for bundle in bundles:
        if bundle.data:
            by_version.setdefault(bundle.data.dataset_version, set()).add(bundle.number)
    line = bundles[0].line if bundles else ""
    for version, numbers in by_version.items():
        rows = _manifest(lake, line, version)
        if rows is None:  # the object itself is found by its hash
            thing = f"frames of dataset {version[:12]}"
            found.add(thing, "a manifest that names them", "it is gone or changed", "follows", numbers)
            continue
        columns = (rows.column(name).to_pylist() for name in ("frame_oid", "recording_name", "frame_index"))
        for oid, name, index in zip(*columns, strict=True):
            one = wanted.setdefault((lake.blobs.key(oid), oid), _Object(f"frame {index} of {name}"))
            one.bundles |= numbers
        found.count("frames", rows.num_rows)


def _manifest(lake: Lake, line: str, version: Oid) -> pa.Table | None:
    """The rows of a manifest, whatever became of the record beside it; None unless it is what its name says."""
    import pyarrow.parquet as pq

    try:
        data = lake.store.get_bytes(f"datasets/{line}/{version}/manifest.parquet")
    except NotFound:
        return None
    there = hashlib.sha256(data).hexdigest()
    return pq.read_table(BytesIO(data)) if there in (version, lake.tombstones.replacement(version)) else None


def _look(lake: Lake, key: str) -> tuple[Oid | None, int]:
    """Hash and size of an object; no hash if it is gone."""
    try:
        return lake.store.rehash(key)
    except NotFound:
        return None, 0
