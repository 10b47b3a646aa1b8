"""The lake's tables: append rows, read rows. A commit is all or nothing, also under kill -9.

Tables are Apache Iceberg, so DuckDB, Trino or Spark read them too. Nothing is ever updated in place: a newer row wins
over an older one where a noun says so.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from tasks.config import Settings
from tasks.errors import ConfigError, NightscopeError, StorageUnavailable
from tasks.lake.fences import require_held
from tasks.lake.locks import lake_lock
from tasks.lake.object_store import ObjectStore
from tasks.lake.table_cache import FILES, Plan, TableCache
from tasks.lake.table_files import Where, conform, empty, matching, read_files
from tasks.lake.table_keys import without_known
from tasks.lake.table_schemas import arrow_schema, from_arrow, noun_of, to_arrow
from tasks.schemas import now

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.table import Table as IcebergTable

    from tasks.lake.iceberg import Iceberg

M = TypeVar("M", bound=BaseModel)
_ATTEMPTS = 30
_TURN_S = 60.0
_IN_FLIGHT = timedelta(hours=1)
MAX_FILES = 64

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
        for attempt in range(_ATTEMPTS):
            with self._turn(table):
                found = self._iceberg.find(table)
                fresh = self._fresh(table, data, names, found) if names else data
                if fresh.num_rows == 0:
                    return 0
                if self._commit(table, fresh, found):
                    return int(fresh.num_rows)
            time.sleep(random.uniform(0.01, 0.05 * min(attempt + 1, 8)))
        raise StorageUnavailable(f"table {table}: {_ATTEMPTS} commits in a row were overtaken by other writers")

    @contextmanager
    def _turn(self, table: str) -> Iterator[None]:
        """Writers commit one after the other, or else most of their work would be overtaken.

        Only a courtesy: what keeps commits apart is Iceberg's compare-and-swap. So losing the turn forbids nothing.
        """
        with ExitStack() as stack:
            with suppress(StorageUnavailable):  # somebody hangs: try without
                stack.enter_context(lake_lock(self._settings, f"table-{table}", timeout_s=_TURN_S, fenced=False))
            yield

    def _commit(self, table: str, rows: pa.Table, onto: IcebergTable | None) -> bool:
        """Append, if the table is still as it was found."""
        from tasks.lake.iceberg import Conflict

        require_held()
        try:
            files = self._iceberg.append(table, rows, onto=onto)
        except Conflict:
            return False
        if files > MAX_FILES:
            self._compact(table)
        return True

    def _compact(self, table: str) -> None:
        """Make one file of many. The rows are committed already: what goes wrong here must not look like their loss."""
        from tasks.lake.iceberg import Conflict

        try:
            found = self._iceberg.find(table)
            if found is not None and (plan := self._plan(found)).files is not None:
                self._iceberg.compact(table, self._cache.files(plan), onto=found.metadata_location)
        except Conflict:
            log.info("table %s: not compacted now, somebody else is writing", table)
        except NightscopeError as error:
            log.warning("table %s: could not be compacted, will be at a later append: %s", table, error)

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

        for attempt in range(_ATTEMPTS):
            with self._turn(table):
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
                    pass
                else:
                    self._sweep(table)
                    return int(rows.num_rows - left.num_rows)
            time.sleep(random.uniform(0.01, 0.05 * min(attempt + 1, 8)))
        raise StorageUnavailable(f"table {table}: {_ATTEMPTS} commits in a row were overtaken by other writers")

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

    def forget_unused(self, before: datetime) -> None:
        """Drop local copies that were made before this moment; what is still needed is fetched again."""
        self._cache.drop(before)

    def scan(self, table: str, where: Where | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows in the order they were appended; none if there is no such table yet.

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
        return read_files(self._cache.files(plan), schema, where, names)

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
        return without_known(data, self._read(table, found, columns=key), key)


def _check_columns(table: str, names: Sequence[str], schema: pa.Schema) -> None:
    unknown = sorted({name for name in names if name not in schema.names})
    if unknown:
        raise ConfigError(f"table {table}: no column {', '.join(unknown)}", expected=", ".join(schema.names))
