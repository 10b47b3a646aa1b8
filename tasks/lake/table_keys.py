"""Which rows are new to a table, told by their key, in Arrow: no key ever becomes a Python object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_LARGEST = 2**62


def without_known(rows: pa.Table, known: pa.Table, key: Sequence[str]) -> pa.Table:
    """The rows whose key is not among the known ones, and came not earlier in `rows`; their order stays.

    Two keys are equal where all their columns are; null equals null.

    Args:
        rows: With the key's columns, and any others.
        known: With the key's columns, of the same types.
        key: At least one column.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if rows.num_rows * 10 < known.num_rows:  # few rows onto many: what none of them could equal is not numbered
        for name in key:
            known = known.filter(pc.is_in(known[name], value_set=rows[name].unique(), skip_nulls=False))
    codes = _codes(pa.concat_tables([known.select(list(key)), rows.select(list(key))]), key).to_numpy()
    # Numbers are given in the order of first appearance: a key is new where its number is larger than all before it.
    before = np.concatenate([np.array([-1]), np.maximum.accumulate(codes)[:-1]])
    return rows.filter(pa.array((codes > before)[known.num_rows :]))


def _codes(rows: pa.Table, key: Sequence[str]) -> pa.Int64Array:
    """One number for each row, equal for equal keys only, and given in the order of their first appearance."""
    import pyarrow as pa
    import pyarrow.compute as pc

    codes, distinct = pa.nulls(0, pa.int64()), 0
    for position, name in enumerate(key):
        column, values = _numbered(rows[name])
        if position == 0:
            codes, distinct = column, values
            continue
        if distinct * values > _LARGEST:  # number anew only those pairs that there are
            codes, distinct = _numbered(codes)
        codes = pc.add(pc.multiply(codes, pa.scalar(values, pa.int64())), column)
        distinct *= values
    return codes if len(key) == 1 else _numbered(codes)[0]


def _numbered(column: pa.ChunkedArray | pa.Array) -> tuple[pa.Int64Array, int]:
    """A number for each value of a column, null included, in the order of first appearance; and how many there are."""
    import pyarrow as pa

    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    coded = whole.dictionary_encode(null_encoding="encode")
    return coded.indices.cast(pa.int64()), len(coded.dictionary)
