"""Reading tables fast: what an Iceberg snapshot consists of never changes, so this machine remembers it.

The catalog says which metadata file is a table's present one: that is asked every time. Behind one metadata file always
stand the same data files; the list of them (the plan) and the files themselves are kept in `<cache_dir>/tables/`, so
that a table that did not change since the last look costs one question to the catalog and nothing else. The folder may
be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tasks.config import Settings
from tasks.lake.object_store import ObjectStore
from tasks.lake.table_files import Where, wanted
from tasks.whole_files import written_whole

FILES = "tables/nightscope/"
"""Where tables' files are in the lake's bucket."""


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One Parquet file of a table.

    Attributes:
        uri: Where it is.
        size_bytes: Its size.
        values: What all its rows have in common by their partition: column → value.
    """

    uri: str
    size_bytes: int
    values: Mapping[str, Any]

    def may_hold(self, where: Where) -> bool:
        """Whether a row that `where` means can be in it, by its partition."""
        return all(self.values[name] in wanted(where[name]) for name in self.values.keys() & where.keys())


@dataclass(frozen=True, slots=True)
class Plan:
    """What a table consists of at one metadata location.

    Attributes:
        snapshot_id: Iceberg's; None where nothing was ever appended.
        files: Its Parquet files, in the order they were appended; None where reading the files is not enough (rows were
            deleted, columns renamed) and PyIceberg's own reader is needed.
    """

    snapshot_id: int | None
    files: tuple[PlannedFile, ...] | None

    def files_for(self, where: Where) -> list[PlannedFile]:
        """The files that can hold rows that `where` means, in their order."""
        return [file for file in self.files or () if file.may_hold(where)]


class TableCache:
    """Plans and data files of tables on this machine.

    Args:
        settings: Where the cache is.
        store: The lake's bucket.
    """

    def __init__(self, settings: Settings, store: ObjectStore) -> None:
        self._settings = settings
        self._store = store
        self._folder = settings.cache_dir / "tables"

    def plan(self, location: str) -> Plan | None:
        """The plan for a metadata location, if this machine knows it."""
        try:
            kept = json.loads(self._plan_path(location).read_text())
            files = kept["files"]
            return Plan(kept["snapshot_id"], None if files is None else tuple(PlannedFile(*file) for file in files))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):  # damaged: planned anew
            return None

    def keep(self, location: str, plan: Plan) -> None:
        """Remember a plan."""
        with written_whole(self._plan_path(location)) as part:
            files = None if plan.files is None else [(one.uri, one.size_bytes, one.values) for one in plan.files]
            part.write_text(json.dumps({"snapshot_id": plan.snapshot_id, "files": files}))

    def files(self, files: Sequence[PlannedFile]) -> list[Path]:
        """Local copies of files, in order; those not here yet are fetched side by side."""
        here = [(self._file_path(file.uri), file.uri, file.size_bytes) for file in files]
        missing = [(path, uri) for path, uri, size in here if not _is_whole(path, size)]
        if missing:
            with ThreadPoolExecutor(self._settings.workers * 4) as threads:
                list(threads.map(lambda item: self._fetch(*item), missing))
        return [path for path, _, _ in here]

    def drop(self, before: datetime) -> None:
        """Delete everything that was put here before this moment."""
        for path in self._folder.glob("*/*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before.timestamp():
                    path.unlink()

    def _fetch(self, path: Path, uri: str) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        store = self._store if bucket == self._store.bucket else ObjectStore(self._settings.s3, bucket)
        store.get_file(key, path)

    def _plan_path(self, location: str) -> Path:
        return self._folder / "plans" / f"{hashlib.sha256(location.encode()).hexdigest()}.json"

    def _file_path(self, uri: str) -> Path:
        return self._folder / "files" / f"{hashlib.sha256(uri.encode()).hexdigest()}.parquet"


def _is_whole(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False
