"""Dataset versions: manifests in canonical form, whose sha256 is the version.

Where they are in the lake's bucket:

    datasets/<line>/<version>/manifest.parquet      every frame with its labels and split
    datasets/<line>/<version>/experiment.json       only where it was made for an experiment: which one
    datasets/<line>/<version>/about.json            what it was made from

`about.json` is written last: the version exists when it does.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from tasks.errors import ConfigError, DataError, IntegrityError, NotFound
from tasks.escaping import short_repr
from tasks.lake.object_store import ObjectInfo, ObjectStore
from tasks.schemas import canonical_json

if TYPE_CHECKING:
    import pyarrow as pa

_VERSION = re.compile(r"[0-9a-f]{64}")
BEGINNING = re.compile(r"[0-9a-f]{4,64}")
"""What people may give instead of a version, as git's commits are abbreviated: its first digits."""
COLUMNS: dict[str, str] = {
    "split": "string",
    "group": "string",
    "recording_id": "string",
    "recording_name": "string",
    "frame_index": "int64",
    "frame_oid": "string",
    "media_type": "string",
    "pts_s": "float64",
    "width_px": "int64",
    "height_px": "int64",
    "annotation_id": "string",
    "revision_id": "string",
    "objects": "string",
}
"""The columns every manifest has, in order. `objects` is a JSON string: what it holds is the line's kind's affair."""
EXPERIMENT = b"experiment"
"""Key of a manifest's schema metadata: this version is not for nights (see `tasks.datasets.experiments`)."""


@dataclass(frozen=True)
class Manifest:
    """One dataset version.

    Attributes:
        rows: One row per frame, in canonical order; columns `COLUMNS`, then any others by name. The schema's metadata
            carries what was given when it was frozen (line, kind, classes).
        about: What it was made from: validation result, table snapshots, counts. Not part of the version.
    """

    version: str
    line: str
    rows: pa.Table
    about: dict[str, Any]


class Datasets:
    """The dataset versions of a lake.

    Args:
        store: The lake's bucket.
        replacement: Version → sha256 of the manifest that stands in its place, without the rows of erased donors.
    """

    def __init__(self, store: ObjectStore, *, replacement: Callable[[str], str | None] = lambda _: None) -> None:
        self._store = store
        self._replacement = replacement

    def save(self, line: str, rows: pa.Table, about: dict[str, Any]) -> str:
        """Freeze a dataset. The same rows, in whatever order, are the same version, and nothing is written again.

        Args:
            line: Whose dataset it is.
            rows: One row per frame with at least `COLUMNS`; schema metadata is kept and counts for the version.
            about: JSON values to keep beside it. The first one saved stays.

        Returns:
            The version: sha256 of the canonical Parquet file.

        Raises:
            DataError: A column is missing or has the wrong type.
        """
        parquet = encode(rows)
        version = hashlib.sha256(parquet).hexdigest()
        if self.exists(line, version):
            return version
        self._store.put_bytes(_key(line, version, "manifest.parquet"), parquet, "application/vnd.apache.parquet")
        if mark := (rows.schema.metadata or {}).get(EXPERIMENT):
            self._store.put_bytes(_key(line, version, "experiment.json"), mark, "application/json")
        self._store.put_bytes(
            _key(line, version, "about.json"), canonical_json({**about, "line": line}).encode(), "application/json"
        )
        return version

    def load(self, line: str, version: str) -> Manifest:
        """Read a dataset version and check it against its hash.

        Raises:
            NotFound: There is no such version.
            IntegrityError: The manifest is not what its version says.
        """
        import pyarrow.parquet as pq

        try:
            about = json.loads(self._store.get_bytes(_key(line, version, "about.json")))
            parquet = self._store.get_bytes(_key(line, version, "manifest.parquet"))
        except NotFound as error:
            known = ", ".join(v[:12] for v in self.versions(line)) or "none"
            raise NotFound(f"line {line}: no dataset version {version}", expected=f"one of: {known}") from error
        found = hashlib.sha256(parquet).hexdigest()
        if found != version and found != self._replacement(version):
            raise IntegrityError(f"line {line}: manifest of dataset version {version} was changed", found=found)
        return Manifest(version=version, line=line, rows=pq.read_table(BytesIO(parquet)), about=about)

    def resolve(self, line: str, beginning: str) -> str:
        """Return the version of a line that begins so; those of experiments are versions, too.

        Raises:
            NotFound: None does.
            ConfigError: Several do, or it is not the beginning of any version.
        """
        if _VERSION.fullmatch(beginning):
            return beginning  # whether there is one, `load` finds out
        if not BEGINNING.fullmatch(beginning):
            raise ConfigError(
                f"dataset version {short_repr(beginning)}", expected="its first 4 hex digits or more, in lower case"
            )
        complete = self.beginning_with(beginning, line)
        if not complete:
            known = ", ".join(version[:12] for version in self.versions(line)) or "none"
            raise NotFound(f"line {line}: no dataset version begins with {beginning}", expected=f"one of: {known}")
        return only_one(beginning, complete)[1]

    def beginning_with(self, beginning: str, line: str | None = None) -> list[tuple[str, str]]:
        """Return the complete versions that begin so, each as (line, version), sorted.

        Args:
            beginning: Hex digits.
            line: Of which line; None: of any.
        """
        parts = (info.key.split("/") for info in self._store.list(f"datasets/{line}/" if line else "datasets/"))
        return sorted((key[1], key[2]) for key in parts if key[3:] == ["about.json"] and key[2].startswith(beginning))

    def exists(self, line: str, version: str) -> bool:
        """Whether the version is complete."""
        return self._store.head(_key(line, version, "about.json")) is not None

    def attach(self, line: str, version: str, name: str, content: dict[str, Any]) -> None:
        """Put a document beside a version, which was made after it; it is no part of the version."""
        self._store.put_bytes(_key(line, version, f"{name}.json"), canonical_json(content).encode(), "application/json")

    def attached(self, line: str, version: str, name: str) -> dict[str, Any] | None:
        """A document that stands beside a version; None where there is none."""
        key = _key(line, version, f"{name}.json")
        if self._store.head(key) is None:
            return None
        content: dict[str, Any] = json.loads(self._store.get_bytes(key))
        return content

    def versions(self, line: str) -> list[str]:
        """All versions of a line that nights made, oldest first; those of experiments are not among them."""
        found: dict[str, dict[str, ObjectInfo]] = {}
        for info in self._store.list(f"datasets/{line}/"):
            version, name = info.key.split("/")[-2:]
            found.setdefault(version, {})[name] = info
        made = [(own["about.json"].modified_at, version) for version, own in found.items() if _of_a_night(own)]
        return [version for _, version in sorted(made)]


def only_one(beginning: str, versions: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Return the only one of the versions, each (line, version), that begin so.

    Raises:
        ConfigError: There are several.
    """
    if len(versions) > 1:
        some = ", ".join(f"{version[:16]} ({line})" for line, version in versions[:5])
        raise ConfigError(
            f"{beginning}: {len(versions)} dataset versions begin so", found=some, fix="give more of its digits"
        )
    return versions[0]


def encode(rows: pa.Table) -> bytes:
    """Rows as canonical Parquet: fixed column order and types, sorted rows, one way of writing.

    The bytes also depend on the Parquet writer's version, which the lock file pins: after an upgrade of pyarrow the
    same rows may get a new version once.

    Raises:
        DataError: A column is missing or has the wrong type.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    missing = [name for name in COLUMNS if name not in rows.schema.names]
    if missing:
        raise DataError(f"manifest: no column {', '.join(missing)}", found=", ".join(rows.schema.names))
    others = sorted(name for name in rows.schema.names if name not in COLUMNS)
    try:
        arrays = {name: rows.column(name).cast(pa.type_for_alias(kind)) for name, kind in COLUMNS.items()}
        arrays |= {name: _plain(rows.column(name)) for name in others}
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"manifest: rows do not fit its columns: {error}") from error
    metadata = dict(sorted((rows.schema.metadata or {}).items()))
    metadata.pop(b"pandas", None)  # says how a data frame was built, not what is in it
    table = pa.table(arrays).replace_schema_metadata(metadata or None)
    table = table.sort_by([(name, "ascending") for name in table.schema.names]).combine_chunks()
    sink = BytesIO()
    pq.write_table(
        table, sink, version="2.6", compression="zstd", compression_level=3, use_dictionary=True,
        write_statistics=True, data_page_version="1.0", row_group_size=65_536,
    )  # fmt: skip
    return sink.getvalue()


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values whether they came as large strings or dictionaries."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        kind = pa.string()
    return column.cast(kind)


def _of_a_night(names: Collection[str]) -> bool:
    return "about.json" in names and "experiment.json" not in names


def _key(line: str, version: str, name: str) -> str:
    if not _VERSION.fullmatch(version):
        raise DataError(f"dataset version {version!r}", expected="64 lower-case hex digits (a sha256)")
    return f"datasets/{line}/{version}/{name}"
