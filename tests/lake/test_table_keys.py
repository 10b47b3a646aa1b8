"""New rows by their key, against the plain definition."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest

from tasks.lake import table_keys
from tasks.lake.table_keys import without_known
from tests.lake.nouns import AT


def by_definition(rows: list[dict[str, Any]], known: list[dict[str, Any]], key: tuple[str, ...]) -> list[Any]:
    seen = {tuple(row[name] for name in key) for row in known}
    fresh = []
    for row in rows:
        value = tuple(row[name] for name in key)
        if value not in seen:
            fresh.append(row)
        seen.add(value)
    return fresh


@pytest.mark.parametrize("key", [("a",), ("b",), ("a", "b"), ("b", "t", "a"), ("f", "t")])
@pytest.mark.parametrize("largest", [2**62, 4])
def test_it_is_what_the_definition_says(key: tuple[str, ...], largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with nulls, several chunks, and so many values that their numbers must be packed (`largest`)."""
    monkeypatch.setattr(table_keys, "_LARGEST", largest)
    schema = pa.schema(
        {"a": pa.string(), "b": pa.int64(), "t": pa.timestamp("us", tz="UTC"), "f": pa.bool_(), "rest": pa.int64()}
    )
    drawn = random.Random(7)

    def some(count: int) -> list[dict[str, Any]]:
        values = {"a": ["x", "y", "", None], "b": [0, -1, 2**60, None], "t": [AT, None], "f": [True, False, None]}
        return [{name: drawn.choice(of) for name, of in values.items()} | {"rest": n} for n in range(count)]

    for _ in range(20):
        rows, known = some(drawn.randrange(30)), some(drawn.choice([0, 5, 29, 400]))
        parts = [pa.Table.from_pylist(known[:5], schema), pa.Table.from_pylist(known[5:], schema)]
        fresh = without_known(pa.Table.from_pylist(rows, schema), pa.concat_tables(parts), key)
        assert fresh.to_pylist() == by_definition(rows, known, key) and fresh.schema == schema
