"""DuckDB's own reader of Iceberg, which shares no code with PyIceberg, reads the tables from S3 as they are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import duckdb
import duckdb_ext
import pytest

from tasks.lake import Lake, partitions
from tests.lake.nouns import AT, annotation, frame

# The packages duckdb-ext-*: what `INSTALL iceberg` would fetch. DuckDB checks its own signature when it loads them.
EXTENSIONS = Path(duckdb_ext.__path__[0]) / "extensions"


@pytest.fixture
def duck(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that knows the lake's S3 server, and may not fetch anything from the net."""
    closed = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    with duckdb.connect(config={**closed, "extension_directory": str(EXTENSIONS)}) as connection:
        for name in ("avro", "iceberg", "httpfs"):
            connection.execute(f"LOAD {name}")
        s3 = lake.settings.s3
        connection.execute(
            f"CREATE SECRET (TYPE s3, KEY_ID '{s3.access_key}', SECRET '{s3.secret_key.get_secret_value()}', "
            f"ENDPOINT '{s3.endpoint.partition('://')[2]}', URL_STYLE 'path', USE_SSL false, REGION '{s3.region}')"
        )
        yield connection


def location(lake: Lake, table: str) -> str:
    found = lake.tables._iceberg.find(table)
    assert found is not None
    return str(found.metadata_location)


def test_it_reads_what_was_appended_partitioned_evolved_and_compacted(
    lake: Lake, duck: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:  # a table of before partitions
        before.setattr(partitions, "PARTITIONED", {})
        lake.tables.append("frames", [frame(n, line) for n in range(2) for line in ("a-line", "b-line")])
    counts = []
    asked = "line, count(*), sum(frame_index)::INT, max(taken_at)::VARCHAR"
    sql = f"SELECT {asked} FROM iceberg_scan('{{}}') GROUP BY 1 ORDER BY 1"
    for step in range(4):
        late = frame(10 + step, "a-line").model_copy(update={"taken_at": AT + timedelta(days=31)})
        lake.tables.append("frames", [late])
        if step > 1:
            lake.tables.compact("frames")
        counts.append(duck.sql(sql.format(location(lake, "frames"))).fetchall())
    assert [rows[0][1:3] for rows in counts] == [(3, 11), (4, 22), (5, 34), (6, 47)]
    assert [rows[1][:3] for rows in counts] == [("b-line", 2, 1)] * 4
    assert counts[-1][0][3].startswith("2026-12-21")


def test_it_prunes_by_our_partitions_and_travels_in_time(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    for n in range(2):
        lake.tables.append("annotations", [annotation(n).model_copy(update={"line": f"line-{n}"})])
    before = lake.tables.snapshot_id("annotations")
    lake.tables.append("annotations", [annotation(7).model_copy(update={"line": "line-0"})])
    where = location(lake, "annotations")
    own = duck.sql(
        f"SELECT annotation_id, json_array_length(objects) FROM iceberg_scan('{where}') WHERE line = 'line-0'"
    )
    assert sorted(own.fetchall()) == [("1-0", 2), ("1-7", 2)]
    past = duck.sql(f"SELECT count(*) FROM iceberg_scan('{where}', snapshot_from_id = {before})")
    assert past.fetchall() == [(2,)]
    # Another line's file gone: a query of this line does not miss it.
    (other,) = [file.uri for file in lake.tables.planned("annotations", {"line": "line-1"}) or []]
    lake.store.remove(other.partition(f"s3://{lake.store.bucket}/")[2])
    again = duck.sql(f"SELECT count(*) FROM iceberg_scan('{where}') WHERE line = 'line-0'")
    assert again.fetchall() == [(2,)]


def test_it_reads_after_an_erasure(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    lake.tables.append("frames", [frame(n) for n in range(5)])
    lake.tables.rewrite("frames", lambda rows: rows.slice(2))
    assert duck.sql(f"SELECT sum(frame_index)::INT FROM iceberg_scan('{location(lake, 'frames')}')").fetchall() == [
        (9,)
    ]
