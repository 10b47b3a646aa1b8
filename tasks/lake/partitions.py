"""How the large tables are partitioned, and how rows are divided among partitions.

Nearly all that is read of frames and annotations is read by line, so their files are kept apart by line: reading one
line opens no other line's files. Within a line they are kept apart by time, so that compaction never rewrites a line's
whole past. The partitions are hidden (Iceberg's transforms of columns that are there): no query names them.

Small tables (verdicts, evidence, splits) would become one file for each row or two, and recordings, landings and
quarantine are not read by line: they stay whole. `docs/benchmarks.md` has what was measured.

PyIceberg divides rows by a Rust extension of 15 MB, which this saves the embedded user: transforms are asked for each
distinct value only, in Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pyiceberg.partitioning import PartitionFieldValue, PartitionKey
from pyiceberg.transforms import DayTransform, IdentityTransform, MonthTransform, YearTransform

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.manifest import DataFile
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.table import Transaction
    from pyiceberg.table.metadata import TableMetadata


@dataclass(frozen=True, slots=True)
class Partitioning:
    """How a table is partitioned.

    Attributes:
        line: Column whose every value has partitions of its own.
        at: Timestamp column by which a line's partitions are kept apart: when rows were added, by our own clock.
        every: How much time one partition spans.
    """

    line: str
    at: str
    every: Literal["day", "month"]


PARTITIONED = {
    "frames": Partitioning("line", "taken_at", "month"),
    "annotations": Partitioning("line", "synced_at", "month"),
}
_CALENDAR = (DayTransform, MonthTransform, YearTransform)


def partition(transaction: Transaction, table: str) -> None:
    """Give the table its partitions if it has none yet. Files of before stay as they are until they are compacted."""
    wanted = PARTITIONED.get(table)
    metadata = transaction.table_metadata
    if wanted is None or metadata.spec().fields or not {wanted.line, wanted.at} <= set(metadata.schema().column_names):
        return
    transform: Any = DayTransform() if wanted.every == "day" else MonthTransform()
    with transaction.update_spec() as update:
        update.add_identity(wanted.line)
        update.add_field(wanted.at, transform, f"{wanted.at}_{wanted.every}")


def divided(rows: pa.Table, spec: PartitionSpec, schema: Schema) -> list[tuple[PartitionKey | None, pa.Table]]:
    """Rows by partition: partitions in the order of their first row, rows in the order given.

    Args:
        rows: At least one; with all columns that the partitions rest on.
        spec: The table's partitions.
        schema: The table's.
    """
    import numpy as np

    if not spec.fields:
        return [(None, rows)]
    number = np.zeros(rows.num_rows, np.int64)
    found: list[list[Any]] = []
    for field in spec.fields:
        numbers, values = _transformed(rows, field, schema)
        number = number * len(values) + numbers
        found.append(values)
    _, first, inverse, counts = np.unique(number, return_index=True, return_inverse=True, return_counts=True)
    ordered = rows.take(np.argsort(inverse, kind="stable"))
    starts = np.concatenate([[0], np.cumsum(counts)])
    parts = []
    for place in np.argsort(first):
        key = _key(int(number[first[place]]), found, spec, schema)
        parts.append((key, ordered.slice(int(starts[place]), int(counts[place]))))
    return parts


def _transformed(rows: pa.Table, field: PartitionField, schema: Schema) -> tuple[Any, list[Any]]:
    """For each row the number of its partition value (int64, numpy), and the values."""
    import numpy as np
    import pyarrow as pa

    source = schema.find_field(field.source_id)
    column = rows.column(source.name)
    if isinstance(field.transform, _CALENDAR):  # days are few where moments are many
        column = column.cast(pa.date32()).cast(column.type)
    coded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    distinct = coded.dictionary
    if pa.types.is_timestamp(distinct.type):
        distinct = distinct.cast(pa.int64())  # microseconds: what transforms and partitions take for a moment
    transform = field.transform.transform(source.field_type)
    values: dict[Any, int] = {}
    of_code = [values.setdefault(transform(value), len(values)) for value in distinct.to_pylist()]
    return np.array(of_code, np.int64)[coded.indices.to_numpy()], list(values)


def _key(number: int, values: list[list[Any]], spec: PartitionSpec, schema: Schema) -> PartitionKey:
    """The partition that stands behind the number that `divided` computes."""
    own = []
    for field, choices in zip(reversed(spec.fields), reversed(values), strict=True):
        number, place = divmod(number, len(choices))
        own.append(PartitionFieldValue(field, choices[place]))
    return PartitionKey(own[::-1], spec, schema)


def values_of(file: DataFile, metadata: TableMetadata) -> dict[str, Any]:
    """What all rows of a file have in common by its partition: column → value."""
    spec = metadata.specs()[file.spec_id]
    return {
        metadata.schema().find_field(field.source_id).name: file.partition[place]
        for place, field in enumerate(spec.fields)
        if isinstance(field.transform, IdentityTransform)
    }
