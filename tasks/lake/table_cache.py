"""Reading tables fast: what an Iceberg snapshot consists of never changes, so this machine remembers it.

The catalog's database says which metadata file is a table's present one: that is the only question asked every time.
Behind one metadata file always stand the same data files; the list of them (the plan) and the files themselves are
kept in `<cache_dir>/tables/`. A table that did not change since the last look costs a few milliseconds, no request to
S3 and no import of PyIceberg. The folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from tasks.config import Settings
from tasks.errors import StorageUnavailable
from tasks.lake.object_store import ObjectStore

CATALOG = "nightscope"
NAMESPACE = "nightscope"
_LOCATION = (
    "SELECT metadata_location FROM iceberg_tables"
    f" WHERE catalog_name = '{CATALOG}' AND table_namespace = '{NAMESPACE}' AND table_name = "
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a table consists of at one metadata location.

    Attributes:
        snapshot_id: Iceberg's; None where nothing was ever appended.
        files: URI and size in bytes of each Parquet file, in the order they were appended; None where reading the files
            is not enough (rows were deleted, columns renamed) and PyIceberg's own reader is needed.
    """

    snapshot_id: int | None
    files: tuple[tuple[str, int], ...] | None


class TableCache:
    """Plans and data files of tables on this machine.

    Args:
        settings: Where the catalog's database is, and the cache.
        store: The lake's bucket.
    """

    def __init__(self, settings: Settings, store: ObjectStore) -> None:
        self._settings = settings
        self._store = store
        self._folder = settings.cache_dir / "tables"

    def location(self, table: str) -> str | None:
        """The table's present metadata location; None if there is no such table yet.

        Raises:
            StorageUnavailable: The catalog's database did not answer.
        """
        uri = self._settings.iceberg_uri
        return self._ask_sqlite(uri, table) if uri.startswith("sqlite:///") else self._ask_engine(table)

    def _ask_sqlite(self, uri: str, table: str) -> str | None:
        path = Path(uri.removeprefix("sqlite:///").partition("?")[0])
        if not path.is_file():
            return None
        try:
            with closing(sqlite3.connect(path, timeout=60)) as connection:
                row = connection.execute(f"{_LOCATION}?", (table,)).fetchone()
        except sqlite3.DatabaseError as error:
            if "no such table" in str(error):  # being made by another process at this moment
                return None
            raise StorageUnavailable(f"Iceberg catalog {path}: {error}") from error
        return str(row[0]) if row else None

    @cached_property
    def _engine(self) -> Any:
        from sqlalchemy import create_engine
        from sqlalchemy.pool import NullPool

        return create_engine(self._settings.iceberg_uri, poolclass=NullPool)  # nothing to share across a fork

    def _ask_engine(self, table: str) -> str | None:
        from sqlalchemy import text
        from sqlalchemy.exc import DBAPIError, ProgrammingError

        try:
            with self._engine.connect() as connection:
                row = connection.execute(text(f"{_LOCATION}:name"), {"name": table}).fetchone()
        except ProgrammingError:  # the catalog's tables are not made yet
            return None
        except DBAPIError as error:
            raise StorageUnavailable(f"Iceberg catalog: the database did not answer ({error.orig})") from error
        return str(row[0]) if row else None

    def plan(self, location: str) -> Plan | None:
        """The plan for a metadata location, if this machine knows it."""
        try:
            kept = json.loads(self._plan_path(location).read_text())
            files = kept["files"]
            return Plan(kept["snapshot_id"], None if files is None else tuple((uri, size) for uri, size in files))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):  # damaged: planned anew
            return None

    def keep(self, location: str, plan: Plan) -> None:
        """Remember a plan."""
        path = self._plan_path(location)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.{os.urandom(4).hex()}")
        part.write_text(json.dumps({"snapshot_id": plan.snapshot_id, "files": plan.files}))
        part.replace(path)

    def files(self, plan: Plan) -> list[Path]:
        """Local copies of a plan's files, in its order; those not here yet are fetched side by side."""
        wanted = [(self._file_path(uri), uri, size) for uri, size in plan.files or ()]
        missing = [(path, uri) for path, uri, size in wanted if not _is_whole(path, size)]
        if missing:
            with ThreadPoolExecutor(self._settings.workers * 4) as threads:
                list(threads.map(lambda item: self._fetch(*item), missing))
        return [path for path, _, _ in wanted]

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
