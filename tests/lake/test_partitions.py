"""Partitions: one line's rows stand in that line's files, and compaction changes neither rows nor their order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pyiceberg.io.pyarrow import _determine_partitions
from pyiceberg.transforms import DayTransform

from tasks.lake import Lake, open_lake, partitions
from tasks.lake.partitions import PARTITIONED, Partitioning, divided
from tasks.schemas import Annotation, Frame
from tests.lake.nouns import AT, annotation, frame


def at(number: int, line: str, when: datetime = AT) -> Frame:
    return frame(number, line).model_copy(update={"taken_at": when})


def unpartitioned(lake: Lake, monkeypatch: pytest.MonkeyPatch, rows: list[Frame]) -> None:
    """Append as the releases before partitions did."""
    with monkeypatch.context() as before:
        before.setattr(partitions, "PARTITIONED", {})
        for row in rows:
            lake.tables.append("frames", [row])


def uris(lake: Lake, line: str | None = None) -> list[str]:
    planned = lake.tables.planned("frames", {"line": line} if line else None)
    assert planned is not None
    return [file.uri for file in planned]


def indices(lake: Lake, line: str | None = None) -> list[int]:
    where = {"line": line} if line else None
    return lake.tables.scan("frames", where, ["frame_index"]).column(0).to_pylist()


def test_reading_one_line_plans_its_files_only(lake: Lake) -> None:
    for night in range(3):
        lake.tables.append("frames", [at(10 * night + n, line) for n in range(2) for line in ("a-line", "b-line")])
    every, mine = uris(lake), uris(lake, "a-line")
    assert len(every) == 6 and len(mine) == 3 and all("line=a-line" in uri for uri in mine)
    both = lake.tables.planned("frames", {"line": ["a-line", "b-line"]}) or []
    assert [file.uri for file in both] == every and uris(lake, "no-line") == []
    some = lake.tables.planned("frames", {"line": "a-line", "frame_index": 3}) or []
    assert [file.uri for file in some] == mine
    assert indices(lake, "a-line") == [0, 1, 10, 11, 20, 21]


def test_pyiceberg_and_others_plan_the_same_files(lake: Lake) -> None:
    """The partitions are Iceberg's, not ours: its own planner prunes by them."""
    lake.tables.append("frames", [at(n, line) for n in range(2) for line in ("a-line", "b-line")])
    found = lake.tables._iceberg.find("frames")
    assert found is not None
    planned = [task.file.file_path for task in found.scan(row_filter="line == 'a-line'").plan_files()]
    assert planned == uris(lake, "a-line") and len(planned) == 1
    assert found.scan(row_filter="taken_at > '2027-01-01T00:00:00+00:00'").plan_files() == []


def test_rows_are_divided_by_line_and_month(lake: Lake) -> None:
    moments = [datetime(2026, month, day, 23, 59, 59, 999_999, UTC) for month, day in ((11, 1), (11, 30), (12, 1))]
    rows = [at(n, line, moment) for n, moment in enumerate(moments) for line in ("a-line", "b-line")]
    lake.tables.append("frames", rows)
    found = lake.tables._iceberg.find("frames")
    assert found is not None
    months = [12 * 56 + 10, 12 * 56 + 11]  # since January 1970
    kept = found.inspect.partitions().select(["partition", "record_count"]).to_pylist()
    assert sorted(
        (own["partition"]["line"], own["partition"]["taken_at_month"], own["record_count"]) for own in kept
    ) == [(line, month, count) for line in ("a-line", "b-line") for month, count in zip(months, (2, 1), strict=True)]
    assert sorted(lake.tables.rows("frames", Frame), key=rows.index) == rows


def test_days_are_what_iceberg_makes_of_them(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARTITIONED, "frames", Partitioning("line", "taken_at", "day"))
    moments = [datetime(1969, 12, 31, 12, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC), AT]
    lake.tables.append("frames", [at(n, "a-line", moment) for n, moment in enumerate(moments)])
    found = lake.tables._iceberg.find("frames")
    assert found is not None and isinstance(found.spec().fields[1].transform, DayTransform)
    days = [own["partition"]["taken_at_day"] for own in found.inspect.partitions().to_pylist()]
    assert sorted(days) == [moment.date() for moment in moments]
    assert [
        task.file.record_count for task in found.scan(row_filter="taken_at < '1970-01-01T00:00:00+00:00'").plan_files()
    ] == [1]


def test_rows_are_divided_as_pyiceberg_itself_divides_them(lake: Lake) -> None:
    """By its Rust extension, which only the tests install."""
    moments = [datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC) + timedelta(days=9 * n) for n in range(40)]
    rows = [at(n, f"line-{n % 3}", moment) for n, moment in enumerate(moments)]
    lake.tables.append("frames", rows)
    table, found = lake.tables.scan("frames"), lake.tables._iceberg.find("frames")
    assert found is not None
    theirs = {
        part.partition_key.to_path(): sorted(part.arrow_table_partition.column("oid").to_pylist())
        for part in _determine_partitions(found.spec(), found.schema(), table)
    }
    ours = divided(table, found.spec(), found.schema())
    assert {key.to_path(): sorted(part.column("oid").to_pylist()) for key, part in ours if key} == theirs
    assert len(theirs) == len(ours) > 30


def test_rows_without_a_line_or_moment_have_a_partition_of_their_own(lake: Lake) -> None:
    rows = lake.tables.scan("frames")
    lake.tables.append("frames", [at(1, "a-line")])
    lake.tables.append("frames", rows.from_pydict({"line": [None, "a-line"], "oid": ["x", "y"]}))
    assert lake.tables.scan("frames", {"line": None}).column("oid").to_pylist() == ["x"]
    assert lake.tables.scan("frames", {"line": "a-line"}).num_rows == 2
    assert len(lake.tables.planned("frames", {"line": None}) or ()) == 1


def test_a_table_of_before_is_partitioned_at_its_next_append_and_divided_by_compaction(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = [at(n, line, AT + timedelta(days=20 * n)) for n in range(3) for line in ("a-line", "b-line")]
    unpartitioned(lake, monkeypatch, old)
    later = AT + timedelta(days=41)
    lake.tables.append("frames", [at(100, "a-line", later), at(101, "b-line", later)])
    fresh = open_lake(lake.settings)
    assert indices(fresh, "a-line") == [0, 1, 2, 100]
    mine = uris(fresh, "a-line")
    assert len(mine) == 7, "the old files hold every line's rows"
    assert fresh.tables.compact("frames", dry_run=True)[0] == 6
    assert uris(fresh, "a-line") == mine
    assert fresh.tables.compact("frames")[0] == 6
    fresh.tables.compact("frames")
    mine = uris(fresh, "a-line")
    assert all("line=a-line" in uri for uri in mine) and len(mine) == 2
    assert indices(fresh, "a-line") == [0, 1, 2, 100] and indices(fresh, "b-line") == [0, 1, 2, 101]
    assert fresh.tables.compact("frames") == (0, 0)
    assert fresh.tables.append("frames", [at(1, "a-line"), at(5, "a-line")], key=("line", "frame_index")) == 1


def test_compaction_keeps_rows_and_order_and_lets_small_tables_be(lake: Lake) -> None:
    rows = [annotation(n).model_copy(update={"line": line}) for n in range(5) for line in ("a-line", "b-line")]
    for row in rows:
        lake.tables.append("annotations", [row])
    before = {line: lake.tables.rows("annotations", Annotation, {"line": line}) for line in ("a-line", "b-line")}
    assert lake.tables.compact("annotations")[0] == 10
    assert {line: lake.tables.rows("annotations", Annotation, {"line": line}) for line in before} == before
    assert len(lake.tables.planned("annotations") or ()) == 2


def test_compacted_files_keep_their_place_among_others(lake: Lake) -> None:
    """An older revision never comes after a newer one, whichever partitions they are in and whichever is compacted."""
    first, second = AT, AT + timedelta(days=31)
    for number in range(3):
        lake.tables.append("frames", [at(number, "a-line", first)])
    lake.tables.append("frames", [at(10, "a-line", second)])
    assert lake.tables.compact("frames")[0] == 3
    lake.tables.append("frames", [at(11, "a-line", second)])
    assert indices(lake, "a-line") == [0, 1, 2, 10, 11]
    found = lake.tables._iceberg.find("frames")
    assert found is not None
    entries = found.inspect.entries().to_pylist()
    assert sorted(entry["sequence_number"] for entry in entries if entry["status"] != 2) == [3, 4, 6]


def test_a_clock_that_jumped_back_mixes_up_no_rows(lake: Lake) -> None:
    moments = [AT, AT + timedelta(days=31), AT, AT, AT + timedelta(days=31), AT]
    for number, moment in enumerate(moments):
        lake.tables.append("frames", [at(number, "a-line", moment), at(number, "b-line", AT)])
    while lake.tables.compact("frames")[0]:
        pass
    assert indices(lake, "a-line") == indices(lake, "b-line") == list(range(6))
    assert len(lake.tables.planned("frames", {"line": "b-line"}) or ()) == 1


def test_an_erasure_goes_through_partitions(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    unpartitioned(lake, monkeypatch, [at(0, "a-line"), at(1, "b-line")])
    lake.tables.append("frames", [at(2, "a-line"), at(3, "b-line")])
    assert lake.tables.rewrite("frames", lambda rows: rows.slice(1)) == 1
    assert indices(lake, "a-line") == [2] and indices(lake, "b-line") == [1, 3]
    assert len(lake.tables.planned("frames") or ()) == 2
