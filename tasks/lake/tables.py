"""The lake's tables: append rows, read rows. A commit is all or nothing, also under kill -9.

Tables are Apache Iceberg, so DuckDB, Trino or Spark read them too. Nothing is ever updated in place: a newer row wins
over an older one where a noun says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from tasks.config import Settings
from tasks.errors import ConfigError, NightscopeError
from tasks.lake.fences import require_held
from tasks.lake.object_store import ObjectStore
from tasks.lake.table_cache import FILES, Plan, PlannedFile, TableCache
from tasks.lake.table_files import Where, conform, empty, matching, read_files
from tasks.lake.table_keys import without_known
from tasks.lake.table_schemas import arrow_schema, from_arrow, noun_of, to_arrow
from tasks.lake.table_turns import turn, until_committed
from tasks.schemas import now

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.table import Table as IcebergTable

    from tasks.lake.iceberg import Iceberg

M = TypeVar("M", bound=BaseModel)
_IN_FLIGHT = timedelta(hours=1)
MAX_FILES = 64
"""A table is compacted when it has gained more files than this since it was last."""
_MAX_KEYS = 100_000

log = logging.getLogger(__name__)


class Tables:
    """The tables of a lake; which there are stands in `table_schemas.TABLES`.

    Args:
        settings: Catalog, bucket and cache.
        store: The lake's bucket.
    """

    def __init__(self, settings: Settings, store: ObjectStore) -> None:
        self._settings = settings
        self._store = store
        self._cache = TableCache(settings, store)

    @cached_property
    def _iceberg(self) -> Iceberg:
        from tasks.lake.iceberg import Iceberg

        return Iceberg(self._settings)

    def close(self) -> None:
        """Close the connections to the catalog's database, if there are any."""
        if "_iceberg" in vars(self):
            self._iceberg.close()

    def append(self, table: str, rows: Sequence[BaseModel] | pa.Table, *, key: str | Sequence[str] = ()) -> int:
        """Commit rows to a table; the table is made on first use, and gains the columns that its noun has gained.

        Args:
            table: Name of the table.
            rows: The table's noun, or an Arrow table. None at all = no commit.
            key: Columns that identify a row: rows whose key is already in the table, or came earlier in `rows`, are
                left out. Decided on the very state that is committed onto, so two processes cannot both add one.

        Returns:
            How many rows were added.

        Raises:
            DataError: A row does not fit the table.
            StorageUnavailable: S3 or the catalog did not answer, or others kept committing first.
        """
        names = [key] if isinstance(key, str) else list(key)
        data = to_arrow(table, rows)

        def commit() -> int | None:
            found = self._iceberg.find(table)
            fresh = self._fresh(table, data, names, found) if names else data
            if fresh.num_rows == 0 or self._commit(table, fresh, found):
                return int(fresh.num_rows)
            return None

        return until_committed(self._settings, table, commit)

    def _commit(self, table: str, rows: pa.Table, onto: IcebergTable | None) -> bool:
        """Append, if the table is still as it was found."""
        from tasks.lake.iceberg import Conflict

        require_held()
        try:
            gained = self._iceberg.append(table, rows, onto=onto)
        except Conflict:
            return False
        if gained > MAX_FILES:
            self._compact_here(table)
        return True

    def _compact_here(self, table: str) -> None:
        """Compact in an appender's turn. The rows are committed: what goes wrong here must not look like their loss."""
        from tasks.lake.compaction import batches

        try:
            for batch in batches(self._iceberg.runs(table)):
                self._iceberg.compact(table, batch, self._cache.files)
        except NightscopeError as error:
            log.warning("table %s: could not be compacted, will be at a later append: %s", table, error)

    def compact(self, table: str, *, dry_run: bool = False) -> tuple[int, int]:
        """Make few files of many small ones, partition by partition; no row and no order changes.

        Killed anywhere, the table is as it was or as it will be, and calling again does the rest.

        Args:
            table: Its name.
            dry_run: Only say what would be rewritten.

        Returns:
            How many files were (would be) replaced, and their size in bytes.

        Raises:
            StorageUnavailable: S3 or the catalog did not answer.
        """
        from tasks.lake.compaction import batches

        noun_of(table)
        runs = self._iceberg.runs(table)
        done = list(runs) if dry_run else []
        for batch in () if dry_run else batches(runs):
            with turn(self._settings, table):
                done += self._iceberg.compact(table, batch, self._cache.files)
        return sum(len(run.entries) for run in done), sum(run.size_bytes for run in done)

    def expire(self, table: str, before: datetime, named: Collection[int], *, dry_run: bool = False) -> tuple[int, int]:
        """Forget snapshots that were superseded before a moment, but for those that are named.

        Their files stay until `gc` finds that no snapshot consists of them any more.

        Returns:
            How many were (in a dry run: would be) forgotten, and how many are kept.

        Raises:
            StorageUnavailable: S3 or the catalog did not answer, or others kept committing first.
        """
        from tasks.lake.iceberg import Conflict

        noun_of(table)

        def commit() -> tuple[int, int] | None:
            with suppress(Conflict):
                return self._iceberg.expire(table, before, named, dry_run=dry_run)
            return None

        return until_committed(self._settings, table, commit)

    def rewrite(self, table: str, change: Callable[[pa.Table], pa.Table]) -> int:
        """Replace a table's rows for good: what is left out, or changed, is in no snapshot and no file any more.

        The only exception to "nothing is updated in place", for what must not be kept (`nightscope erase`). Killed
        anywhere and called again, it ends the same.

        Args:
            table: Its name.
            change: All rows, as the table has them → those that stay. Equal rows: nothing is committed.

        Returns:
            How many rows are fewer.

        Raises:
            StorageUnavailable: S3 or the catalog did not answer, or others kept committing first.
        """
        from tasks.lake.iceberg import Conflict

        def commit() -> int | None:
            found = self._iceberg.find(table)
            if found is None:
                return 0
            rows = self._read(table, found)
            left = change(rows)
            require_held()
            try:
                if not left.equals(rows):
                    self._iceberg.rewrite(table, left, onto=found.metadata_location)
                self._iceberg.forget_history(table)
            except Conflict:
                return None
            self._sweep(table)
            return int(rows.num_rows - left.num_rows)

        return until_committed(self._settings, table, commit)

    def _sweep(self, table: str) -> None:
        """Remove what former snapshots consisted of, and what nobody names for longer than any commit takes.

        A file that nobody names yet may be of a commit in flight on another machine.
        """
        bucket = f"s3://{self._store.bucket}/"
        former = [uri.removeprefix(bucket) for uri in self._iceberg.files_of_former(table)]
        there = {info.key: info.modified_at for info in self._store.list(f"{FILES}{table}/")}
        # Asked last: what another machine committed meanwhile is in use.
        used = {uri.removeprefix(bucket) for uri in self._iceberg.files_of_present(table)}
        orphans = [key for key, at in there.items() if now() - at > _IN_FLIGHT and key not in former]
        for key in (*orphans, *former):
            if key in there and key not in used:
                self._store.remove(key)
        self._cache.drop(now())

    def files_in_use(self, table: str) -> set[str]:
        """URIs of all files of a table, its remembered snapshots included; for `gc`."""
        noun_of(table)
        return self._iceberg.files_in_use(table)

    def missing_files(self, table: str) -> list[str]:
        """Keys of files that the table's present state consists of, and that the bucket does not hold any more.

        Raises:
            NotFound: One of those that name the others is gone.
        """
        noun_of(table)
        if self._iceberg.find(table) is None:
            return []
        bucket = f"s3://{self._store.bucket}/"
        used = {uri.removeprefix(bucket) for uri in self._iceberg.files_of_present(table) if uri.startswith(bucket)}
        there = {info.key for info in self._store.list(f"{FILES}{table}/")}
        return sorted(key for key in used - there if self._store.head(key) is None)

    def forget_unused(self, before: datetime) -> None:
        """Drop local copies that were made before this moment; what is still needed is fetched again."""
        self._cache.drop(before)

    def scan(self, table: str, where: Where | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows; none if there is no such table yet. Of a line that `where` asks for, only that line's files are read.

        Rows come in the order they were appended; those of one append, partition by partition (`partitions`).

        Args:
            table: Name of the table.
            where: Column -> value it must equal; a list, tuple or set means any of them; None means null.
            columns: Which columns, in this order; default all of the table's noun.
        """
        schema = arrow_schema(noun_of(table))
        names = list(columns) if columns is not None else schema.names
        _check_columns(table, [*names, *(where or {})], schema)
        return self._read(table, self._iceberg.find(table), where, names)

    def _read(
        self, table: str, found: IcebergTable | None, where: Where | None = None, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """As `scan`, of the very state that was found."""
        schema = arrow_schema(noun_of(table))
        names = schema.names if columns is None else columns
        if found is None or (plan := self._plan(found)).files == ():
            return empty(schema).select(names)
        if plan.files is None:
            rows = self._iceberg.read(found)
            return matching(conform(rows, schema, rows.num_rows), where or {}).select(names)
        return read_files(self._cache.files(plan.files_for(where or {})), schema, where, names)

    def planned(self, table: str, where: Where | None = None) -> list[PlannedFile] | None:
        """The files that `scan` opens, in the order of their rows; None where it needs PyIceberg's own reader."""
        noun_of(table)
        plan = None if (found := self._iceberg.find(table)) is None else self._plan(found)
        return None if plan and plan.files is None else plan.files_for(where or {}) if plan else []

    def fetched(self, files: Sequence[PlannedFile]) -> list[Path]:
        """Local copies of files that `planned` has named. Never write to them: they are this machine's cache."""
        return self._cache.files(files)

    def rows(self, table: str, model: type[M], where: Where | None = None) -> list[M]:
        """Rows as nouns, in the order they were appended.

        Args:
            table: Name of the table.
            model: The table's noun, or another with some of its fields.
            where: As in `scan`.
        """
        own = noun_of(table).model_fields
        return from_arrow(self.scan(table, where, [name for name in model.model_fields if name in own]), model)

    def snapshot_id(self, table: str) -> int | None:
        """Iceberg's id of the table's present state; None if nothing was ever appended."""
        noun_of(table)
        found = self._iceberg.find(table)
        return None if found is None else self._plan(found).snapshot_id

    def _plan(self, found: IcebergTable) -> Plan:
        location = found.metadata_location
        plan = self._cache.plan(location)
        if plan is None:
            plan = self._iceberg.plan(found)
            self._cache.keep(location, plan)
        return plan

    def _fresh(self, table: str, data: pa.Table, key: list[str], found: IcebergTable | None) -> pa.Table:
        """The rows whose key is neither in the table nor earlier among themselves."""
        _check_columns(table, key, data.schema)
        asked = {name: data[name].unique() for name in key}  # only rows that one of these can equal are kept in memory
        few = {name: values for name, values in asked.items() if len(values) <= _MAX_KEYS}
        return without_known(data, self._read(table, found, few, key), key)


def _check_columns(table: str, names: Sequence[str], schema: pa.Schema) -> None:
    unknown = sorted({name for name in names if name not in schema.names})
    if unknown:
        raise ConfigError(f"table {table}: no column {', '.join(unknown)}", expected=", ".join(schema.names))
