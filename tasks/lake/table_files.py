"""Reading a table's Parquet files, with a filter.

`pyarrow.dataset`, and even `pyarrow.scalar` and `pyarrow.array`, import pandas on first use: half a second that a night
with nothing new does not have. Hence filtering by dictionary codes here: it needs none of them, and is as fast.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

Where = Mapping[str, Any]
"""Column -> the value it must equal; a list, tuple, set or Arrow array means any of them; None means null."""


def wanted(value: Any) -> frozenset[Any]:
    """The values that one condition of a `Where` means."""
    import pyarrow as pa

    if isinstance(value, pa.Array):
        return frozenset(value.to_pylist())
    return frozenset(value) if isinstance(value, list | tuple | set | frozenset) else frozenset((value,))


def read_files(files: Sequence[Path], schema: pa.Schema, where: Where | None, columns: Sequence[str]) -> pa.Table:
    """Read Parquet files as one table, in their order.

    The columns in `where` are read first; of a file with no matching row nothing else is read.

    Args:
        files: Local Parquet files. A column that one lacks is null in its rows.
        schema: What to read them as.
        where: Which rows; None or empty = all.
        columns: Which columns, in which order.
    """
    import pyarrow as pa

    asked = pa.schema([schema.field(name) for name in columns])
    return pa.concat_tables([empty(asked), *_parts(files, schema, where or {}, asked)])


def _parts(files: Sequence[Path], schema: pa.Schema, where: Where, asked: pa.Schema) -> Iterator[pa.Table]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    conditions = pa.schema([schema.field(name) for name in where])
    for path in files:
        with pq.ParquetFile(path) as file:
            mask = _mask(_columns(file, conditions), where) if where else None
            if mask is None:
                yield _columns(file, asked)
            elif mask.true_count:
                yield _columns(file, asked).filter(mask)


def _columns(file: Any, schema: pa.Schema) -> pa.Table:
    present = set(file.schema_arrow.names)
    rows = file.read(columns=[name for name in schema.names if name in present])
    return conform(rows, schema, file.metadata.num_rows)


def empty(schema: pa.Schema) -> pa.Table:
    """No rows."""
    import pyarrow as pa

    return pa.Table.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)


def conform(rows: pa.Table, schema: pa.Schema, num_rows: int) -> pa.Table:
    """The columns of `schema`, by name; those that are not there are null."""
    import pyarrow as pa

    here = set(rows.schema.names)
    arrays = [
        rows.column(field.name).cast(field.type) if field.name in here else pa.nulls(num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def matching(rows: pa.Table, where: Where) -> pa.Table:
    """The rows that `where` means."""
    return rows.filter(_mask(rows, where)) if where else rows


def _mask(rows: pa.Table, where: Where) -> pa.BooleanArray:
    import numpy as np
    import pyarrow as pa

    keep = np.ones(rows.num_rows, dtype=bool)
    for name, value in where.items():
        if isinstance(value, pa.Array):  # many values, on Arrow's side already
            import pyarrow.compute as pc

            keep &= pc.is_in(rows.column(name), value_set=value).to_numpy()
            continue
        good_values = wanted(value)
        start = 0
        for chunk in rows.column(name).chunks:
            coded = chunk.dictionary_encode(null_encoding="encode")
            good = np.fromiter((known in good_values for known in coded.dictionary.to_pylist()), dtype=bool)
            if len(chunk):
                keep[start : start + len(chunk)] &= good[coded.indices.to_numpy()]
            start += len(chunk)
    bits = pa.py_buffer(np.packbits(keep, bitorder="little").tobytes())
    return pa.Array.from_buffers(pa.bool_(), len(keep), [None, bits])
