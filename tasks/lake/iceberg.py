"""Apache Iceberg through PyIceberg: what the lake asks of a table.

PyIceberg takes a moment to import, so `tables` imports this when a table is first read or written.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.manifest import FileFormat, ManifestContent, ManifestFile
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table, Transaction

from tasks.errors import NotFound
from tasks.lake.catalog import catalog_errors, connect
from tasks.lake.table_cache import FILES, Plan
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
KEPT_SNAPSHOTS = 50


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
        """Commit rows to the table as the caller has seen it, making or widening the table if need be.

        Args:
            table: Its name.
            rows: At least one; the columns of the table's noun.
            onto: The table as `find` gave it to the caller, who looked at no other state; None = there was none yet.

        Returns:
            How many data files the table has now.

        Raises:
            Conflict: The table has changed since.
            StorageUnavailable: S3 or the catalog did not answer.
        """
        with self._errors(f"appending to table {table}"):
            opened = onto or self._create(table, rows.schema)
            if onto is None and opened.current_snapshot() is not None:
                raise Conflict(table)
            try:  # not loaded again: the commit itself is refused where the table has got another snapshot since
                with opened.transaction() as transaction:
                    _widen(transaction, rows.schema)
                    transaction.append(rows)
            except CommitFailedException as error:
                raise Conflict(table) from error
            snapshot = opened.current_snapshot()
            summary = snapshot.summary if snapshot else None
            return int((summary and summary["total-data-files"]) or 0)

    def compact(self, table: str, files: Sequence[Path], *, onto: str) -> None:
        """Replace a table's many small files by one, with the same rows in the same order, and forget old snapshots.

        Every commit copies the list of snapshots and every reader opens every file, so that without this a table of
        small appends gets slower with each of them. Superseded files stay until `gc` collects them.

        Args:
            table: Its name.
            files: Local copies of all its files, in order.
            onto: The metadata location that these files belong to.

        Raises:
            Conflict: The table has changed since.
        """
        with self._errors(f"compacting table {table}"):
            opened = self._load(table)
            if opened.metadata_location != onto:
                raise Conflict(table)
            schema = opened.schema().as_arrow()
            rows = read_files(files, schema, None, schema.names)
            try:
                opened.overwrite(rows)
                snapshots = sorted(opened.snapshots(), key=lambda snapshot: snapshot.sequence_number)
                expired = [snapshot.snapshot_id for snapshot in snapshots[:-KEPT_SNAPSHOTS]]
                if expired:
                    opened.maintenance.expire_snapshots().by_ids(expired).commit()
            except CommitFailedException as error:
                raise Conflict(table) from error

    def rewrite(self, table: str, rows: pa.Table, *, onto: str) -> None:
        """Replace all rows of a table by these, and forget every older snapshot: time travel brings nothing back.

        Args:
            table: Its name.
            rows: What is left; columns of the table's noun.
            onto: The metadata location that the caller looked at.

        Raises:
            Conflict: The table has changed since.
        """
        with self._errors(f"rewriting table {table}"):
            opened = self._load(table)
            if opened.metadata_location != onto:
                raise Conflict(table)
            try:
                with opened.transaction() as transaction:
                    _widen(transaction, rows.schema)
                    transaction.overwrite(rows)
                self._forget_history(opened)
            except CommitFailedException as error:
                raise Conflict(table) from error

    def forget_history(self, table: str) -> bool:
        """Forget every snapshot but the present one; whether there is such a table.

        Raises:
            Conflict: Somebody else is writing.
        """
        with self._errors(f"forgetting the history of table {table}"):
            try:
                self._forget_history(self._load(table))
            except NoSuchTableError:
                return False
            except CommitFailedException as error:
                raise Conflict(table) from error
            return True

    def _forget_history(self, opened: Table) -> None:
        present = opened.current_snapshot()
        old = [one.snapshot_id for one in opened.snapshots() if present and one.snapshot_id != present.snapshot_id]
        if old:
            opened.maintenance.expire_snapshots().by_ids(old).commit()

    def files_of_present(self, table: str) -> set[str]:
        """URIs of the files that the present snapshot consists of, and nothing older: no former metadata file."""
        with self._errors(f"reading table {table}"):
            opened = self._load(table)
        found, snapshot = {opened.metadata_location}, opened.current_snapshot()
        if snapshot is not None:
            found.add(snapshot.manifest_list)
            for manifest in snapshot.manifests(opened.io):
                found.add(manifest.manifest_path)
                found.update(entry.data_file.file_path for entry in manifest.fetch_manifest_entry(opened.io))
        return found

    def files_of_former(self, table: str) -> list[str]:
        """URIs of what snapshots consisted of that the table's former metadata files, while they are there, name.

        In the order in which they may be removed: rows, then what names them, the metadata files last. So whoever is
        killed between, and asks again, is told of all that is left.
        """
        with self._errors(f"reading table {table}"):
            opened = self._load(table)
        former = [entry.metadata_file for entry in opened.metadata.metadata_log]
        lists: dict[str, list[ManifestFile]] = {}
        for uri in former:
            try:
                snapshots = FromInputFile.table_metadata(opened.io.new_input(uri)).snapshots
            except NotFound:  # removed already
                continue
            for snapshot in snapshots:
                if snapshot.manifest_list not in lists:
                    lists[snapshot.manifest_list] = []
                    with contextlib.suppress(NotFound):
                        lists[snapshot.manifest_list] = snapshot.manifests(opened.io)
        manifests = {one.manifest_path: one for own in lists.values() for one in own}
        rows: dict[str, None] = {}
        for manifest in manifests.values():
            with contextlib.suppress(NotFound):
                entries = manifest.fetch_manifest_entry(opened.io, False)
                rows |= dict.fromkeys(entry.data_file.file_path for entry in entries)
        return [*rows, *manifests, *lists, *former]

    def files_in_use(self, table: str) -> set[str]:
        """URIs of every file that the table, or a snapshot it remembers, consists of."""
        with self._errors(f"reading table {table}"):
            try:
                opened = self._load(table)
            except NoSuchTableError:
                return set()
        found = {opened.metadata_location, *(entry.metadata_file for entry in opened.metadata.metadata_log)}
        for snapshot in opened.snapshots():
            found.add(snapshot.manifest_list)
            for manifest in snapshot.manifests(opened.io):
                if manifest.manifest_path not in found:
                    found.add(manifest.manifest_path)
                    found.update(entry.data_file.file_path for entry in manifest.fetch_manifest_entry(opened.io, False))
        return found

    def plan(self, opened: Table) -> Plan:
        """Which files hold a table's rows, in the order in which they were appended."""
        snapshot = opened.current_snapshot()
        if snapshot is None:
            return Plan(None, ())
        manifests = snapshot.manifests(opened.io)
        entries = [entry for manifest in manifests for entry in manifest.fetch_manifest_entry(opened.io)]
        entries.sort(key=lambda entry: entry.sequence_number or 0)  # stable: files of one commit stay as written
        plain = (
            all(manifest.content == ManifestContent.DATA for manifest in manifests)
            and all(entry.data_file.file_format == FileFormat.PARQUET for entry in entries)
            and _names_are_stable(opened)
        )
        files = tuple((entry.data_file.file_path, int(entry.data_file.file_size_in_bytes)) for entry in entries)
        return Plan(snapshot.snapshot_id, files if plain else None)

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


def _widen(transaction: Transaction, schema: pa.Schema) -> None:
    """Give the table the columns that its noun has gained."""
    if set(schema.names) - set(transaction.table_metadata.schema().column_names):
        with transaction.update_schema() as update:
            update.union_by_name(schema)


def _names_are_stable(table: Table) -> bool:
    """Whether a column's name has always meant the same column, so that old files can be read by name."""
    ids: dict[str, int] = {}
    names: dict[int, str] = {}
    return all(
        ids.setdefault(field.name, field.field_id) == field.field_id
        and names.setdefault(field.field_id, field.name) == field.name
        for schema in table.metadata.schemas
        for field in schema.fields
    )
