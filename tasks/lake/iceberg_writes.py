"""New files for Iceberg tables, and the commits that bring them in."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from pyiceberg.io.pyarrow import pyarrow_to_schema, write_file
from pyiceberg.manifest import DataFile, ManifestEntry, ManifestEntryStatus, ManifestFile
from pyiceberg.table import Transaction, WriteTask
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update.snapshot import _OverwriteFiles

from tasks.lake.partitions import divided

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.io import FileIO
    from pyiceberg.table.metadata import TableMetadata


def add(transaction: Transaction, rows: pa.Table) -> None:
    """Append rows, one file for each partition that they are of.

    Args:
        transaction: Of the table.
        rows: At least one.
    """
    files = data_files(transaction.table_metadata, transaction._table.io, rows)
    with transaction.update_snapshot().merge_append() as snapshot:
        for file in files:
            snapshot.append_data_file(file)


def data_files(metadata: TableMetadata, io: FileIO, rows: pa.Table) -> list[DataFile]:
    """Write rows into files that belong to no snapshot yet, one for each partition, in the order of `divided`."""
    schema = pyarrow_to_schema(
        rows.schema, name_mapping=metadata.schema().name_mapping, format_version=metadata.format_version
    )
    name = uuid.uuid4()
    parts = divided(rows, metadata.spec(), metadata.schema())
    tasks = (
        WriteTask(write_uuid=name, task_id=number, schema=schema, record_batches=part.to_batches(), partition_key=key)
        for number, (key, part) in enumerate(parts)
    )
    return list(write_file(io, metadata, tasks))


def widen(transaction: Transaction, schema: pa.Schema) -> None:
    """Give the table the columns that its noun has gained."""
    if set(schema.names) - set(transaction.table_metadata.schema().column_names):
        with transaction.update_schema() as update:
            update.union_by_name(schema)


def replace(transaction: Transaction, pairs: Sequence[tuple[Sequence[ManifestEntry], Sequence[DataFile]]]) -> None:
    """Put new files with the same rows in the place of old ones.

    Args:
        transaction: Of the table.
        pairs: Entries of old files, neighbours in the table's order, and the files that take their place.

    Raises:
        ValidationException: One of the old files is not in the table any more.
    """
    with _Replacement(Operation.OVERWRITE, transaction, transaction._table.io) as snapshot:
        for old, new in pairs:
            for entry in old:
                snapshot.delete_data_file(entry.data_file)
            for file in new:
                snapshot.append_data_file(file)
                snapshot.ages[file.file_path] = max(entry.sequence_number or 0 for entry in old)


class _Replacement(_OverwriteFiles):  # type: ignore[misc]
    """An overwrite whose new files are as old as those that they replace: rows keep their place in the table's order.

    That is Iceberg's data sequence number, which its other engines keep, too, when they compact. PyIceberg has no
    door to it; its version is pinned, and a test reads the numbers back.

    Attributes:
        ages: Data sequence number of each new file, by its URI.
    """

    _added_data_files: list[DataFile]

    @cached_property
    def ages(self) -> dict[str, int]:
        return {}

    def _manifests(self) -> list[ManifestFile]:
        added = self._added_data_files
        with self.new_manifest_writer(spec=self._transaction.table_metadata.spec()) as writer:
            for file in added:
                entry = ManifestEntry.from_args(
                    status=ManifestEntryStatus.ADDED,
                    snapshot_id=self._snapshot_id,
                    sequence_number=self.ages[file.file_path],
                    data_file=file,
                )
                writer.add(entry)
        self._added_data_files = []  # or they would be written a second time, as new
        try:
            others: list[ManifestFile] = super()._manifests()
        finally:
            self._added_data_files = added
        return [writer.to_manifest_file(), *others]
