"""Apache Iceberg through PyIceberg: what the lake asks of a table.

PyIceberg takes a moment to import, so `tables` imports this when a table is first read or written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NoSuchTableError,
    TableAlreadyExistsError,
    ValidationException,
)
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.table import Table

from tasks.lake import iceberg_files, snapshots
from tasks.lake.catalog import catalog_errors, connect
from tasks.lake.compaction import COMPACTED, Run, runs
from tasks.lake.partitions import partition
from tasks.lake.table_cache import FILES, Plan, PlannedFile
from tasks.lake.table_files import read_files

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.config import Settings

_TABLE_PROPERTIES = {
    # Retries are ours (tables.py): a retry must look again at what is already there.
    "commit.retry.num-retries": "0",
    # Many small appends: few manifests to read, few old metadata files to keep.
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "16",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "50",
}


class Conflict(Exception):
    """Somebody else committed to the table first: look again and try again. Never leaves `tables.py`."""


class Iceberg:
    """The Iceberg tables of a lake.

    Args:
        settings: Which catalog, and the bucket with the tables' files (`s3://<lake bucket>/tables/...`).
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bucket = settings.s3.lake_bucket
        self._namespace = tuple(settings.catalog.namespace.split("."))
        # By process: a forked child needs its own connections, and must not close those that it inherits.
        self._connected: dict[int, Catalog] = {}

    @property
    def _catalog(self) -> Catalog:
        pid = os.getpid()
        if pid not in self._connected:
            self._connected[pid] = connect(self._settings)
        return self._connected[pid]

    def close(self) -> None:
        """Close this process's connections to the catalog; the next use opens them again."""
        if mine := self._connected.pop(os.getpid(), None):  # a parent's are the parent's to close
            mine.close()

    def _errors(self, doing: str) -> AbstractContextManager[None]:
        return catalog_errors(self._settings, doing)

    def find(self, table: str) -> Table | None:
        """The table as it is now; None if the catalog says that there is none.

        Raises:
            ConfigError: The catalog does not let us see it.
            StorageUnavailable: The catalog or S3 did not answer.
        """
        with self._errors(f"reading table {table}"):
            try:
                return self._load(table)
            except NoSuchTableError:
                return None

    def append(self, table: str, rows: pa.Table, *, onto: Table | None) -> int:
        """Commit rows to the table as the caller has seen it, making, widening or partitioning it if need be.

        Args:
            table: Its name.
            rows: At least one; the columns of the table's noun.
            onto: The table as `find` gave it to the caller, who looked at no other state; None = there was none yet.

        Returns:
            How many data files the table has gained since it was last compacted.

        Raises:
            Conflict: The table has changed since.
            StorageUnavailable: S3 or the catalog did not answer.
        """
        from tasks.lake.iceberg_writes import add, widen

        with self._errors(f"appending to table {table}"), _conflicts(table):
            opened = onto or self._create(table, rows.schema)
            if onto is None and opened.current_snapshot() is not None:
                raise Conflict(table)
            # not loaded again: the commit itself is refused where the table has got another snapshot since
            with opened.transaction() as transaction:
                widen(transaction, rows.schema)
                partition(transaction, table)
                add(transaction, rows)
            return iceberg_files.count(opened) - int(opened.properties.get(COMPACTED, 0))

    def runs(self, table: str) -> list[Run]:
        """What compaction would make fewer files of; none if there is no such table."""
        with self._errors(f"reading table {table}"):
            try:
                return runs(self._load(table))
            except NoSuchTableError:
                return []

    def compact(
        self, table: str, batch: Sequence[Run], fetch: Callable[[Sequence[PlannedFile]], Sequence[Path]]
    ) -> list[Run]:
        """Replace files by one for each partition that their rows are of, at the same place of the table's order.

        What others commit meanwhile stays. Superseded files stay until no snapshot consists of them and `gc` collects
        them.

        Args:
            table: Its name.
            batch: Some of `runs`, replaced by one commit.
            fetch: Brings files to this machine.

        Returns:
            Those that were replaced; not those of whose files others have replaced or removed one.
        """
        from tasks.lake.iceberg_writes import data_files, replace

        with self._errors(f"compacting table {table}"), _conflicts(table):
            opened = self._load(table)
            schema = opened.schema().as_arrow()
            written = {
                run: data_files(opened.metadata, opened.io, read_files(fetch(run.files), schema, None, schema.names))
                for run in _still_there(opened, batch)
            }
            while there := _still_there(opened, tuple(written)):
                files = iceberg_files.count(opened) + sum(len(written[run]) - len(run.entries) for run in there)
                try:
                    with opened.transaction() as transaction:
                        replace(transaction, [(run.entries, written[run]) for run in there])
                        transaction.set_properties({COMPACTED: str(files)})
                    return there
                except CommitFailedException:  # others' commits do not concern what was written: only commit again
                    opened = self._load(table)
            return []

    def expire(self, table: str, before: datetime, named: Collection[int], *, dry_run: bool) -> tuple[int, int]:
        """Forget snapshots that were superseded before a moment and that nothing names.

        Returns:
            How many were, or would be, forgotten, and how many are kept.

        Raises:
            Conflict: Somebody else is writing.
        """
        with self._errors(f"forgetting snapshots of table {table}"), _conflicts(table):
            try:
                opened = self._load(table)
            except NoSuchTableError:
                return 0, 0
            old, there = snapshots.expired(opened, before, named), len(opened.snapshots())
            if not dry_run:
                snapshots.forget(opened, old)
            return len(old), there - len(old)

    def rewrite(self, table: str, rows: pa.Table, *, onto: str) -> None:
        """Replace all rows of a table by these, and forget every older snapshot: time travel brings nothing back.

        Args:
            table: Its name.
            rows: What is left; columns of the table's noun.
            onto: The metadata location that the caller looked at.

        Raises:
            Conflict: The table has changed since.
        """
        from tasks.lake.iceberg_writes import add, widen

        with self._errors(f"rewriting table {table}"), _conflicts(table):
            opened = self._load(table)
            if opened.metadata_location != onto:
                raise Conflict(table)
            with opened.transaction() as transaction:
                widen(transaction, rows.schema)
                partition(transaction, table)
                transaction.delete(AlwaysTrue())
                if rows.num_rows:
                    add(transaction, rows)
            snapshots.forget_all(opened)

    def forget_history(self, table: str) -> bool:
        """Forget every snapshot but the present one; whether there is such a table.

        Raises:
            Conflict: Somebody else is writing.
        """
        with self._errors(f"forgetting the history of table {table}"), _conflicts(table):
            try:
                snapshots.forget_all(self._load(table))
            except NoSuchTableError:
                return False
            return True

    def files_of_present(self, table: str) -> set[str]:
        """As `iceberg_files.of_present`."""
        with self._errors(f"reading table {table}"):
            return iceberg_files.of_present(self._load(table))

    def files_of_former(self, table: str) -> list[str]:
        """As `iceberg_files.of_former`."""
        with self._errors(f"reading table {table}"):
            return iceberg_files.of_former(self._load(table))

    def files_in_use(self, table: str) -> set[str]:
        """As `iceberg_files.in_use`; none if there is no such table."""
        with self._errors(f"reading table {table}"):
            try:
                return iceberg_files.in_use(self._load(table))
            except NoSuchTableError:
                return set()

    def plan(self, opened: Table) -> Plan:
        """As `iceberg_files.plan`."""
        with self._errors(f"reading table {opened.name()[-1]}"):
            return iceberg_files.plan(opened)

    def read(self, opened: Table) -> pa.Table:
        """The whole table by PyIceberg's own reader: for what other tools did to it (deleted rows, renamed columns)."""
        with self._errors(f"reading table {opened.name()[-1]}"):
            return opened.scan().to_arrow()

    def _load(self, table: str) -> Table:
        return self._catalog.load_table((*self._namespace, table))

    def _create(self, table: str, schema: pa.Schema) -> Table:
        if not self._catalog.namespace_exists(self._namespace):
            try:
                self._catalog.create_namespace(self._namespace)
            except Exception:  # catalogs say in their own ways that somebody was quicker
                if not self._catalog.namespace_exists(self._namespace):
                    raise
        # Said, not left to the catalog: `gc` looks for tables' files where all catalogs then put them.
        where = f"s3://{self._bucket}/{FILES}{table}"
        try:
            return self._catalog.create_table((*self._namespace, table), schema, where, properties=_TABLE_PROPERTIES)
        except TableAlreadyExistsError:  # somebody was quicker
            return self._load(table)


def _still_there(opened: Table, batch: Sequence[Run]) -> list[Run]:
    """Those whose files are all in the table."""
    there = {entry.data_file.file_path for entry in iceberg_files.live_entries(opened) or ()}
    return [run for run in batch if run.paths <= there]


@contextmanager
def _conflicts(table: str) -> Iterator[None]:
    """Name what PyIceberg raises where somebody else committed first."""
    try:
        yield
    except (CommitFailedException, ValidationException) as error:
        raise Conflict(table) from error
