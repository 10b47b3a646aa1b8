"""SQL over the lake: what it answers, what it fetches, and what it must not do."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from tasks.errors import ConfigError
from tasks.lake import Lake, open_lake, table_schemas
from tasks.lake.object_store import ObjectStore
from tasks.lake.query import query
from tasks.schemas import Frozen
from tests.lake.nouns import AT, annotation, frame, item


@pytest.fixture
def filled(lake: Lake) -> Lake:
    for line in ("a-line", "b-line"):
        lake.tables.append("frames", [frame(n, line) for n in range(3)])
        lake.tables.append("annotations", [annotation(1, boxes=4).model_copy(update={"line": line})])
    lake.tables.append("quarantine", [item(1)])
    return lake


def test_it_answers_with_joins_dates_and_json(filled: Lake) -> None:
    sql = """
        SELECT f.line, count(*) AS frames, any_value(json_array_length(a.objects)) AS boxes, max(f.taken_at) AS newest
        FROM frames f LEFT JOIN annotations a USING (line, recording_id, frame_index)
        GROUP BY ALL ORDER BY 1
    """
    assert query(filled, sql).to_pylist() == [
        {"line": line, "frames": 3, "boxes": 4, "newest": AT} for line in ("a-line", "b-line")
    ]
    assert query(filled, "SELECT frame_index FROM frames ORDER BY ALL DESC", line="a-line", at_most=2).to_pylist() == [
        {"frame_index": 2}, {"frame_index": 1}
    ]  # fmt: skip
    assert query(filled, "SELECT count(*) AS n FROM quarantine", line="a-line").to_pylist() == [{"n": 0}]


def test_a_table_that_is_not_there_yet_is_empty(lake: Lake) -> None:
    answer = query(lake, "SELECT * FROM verdicts WHERE line = 'x'")
    assert answer.num_rows == 0 and "run_key" in answer.column_names


def test_only_the_files_of_the_line_and_of_named_tables_are_fetched(
    filled: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in filled.settings.cache_dir.rglob("*.parquet"):
        path.unlink()
    fetched: list[str] = []
    get = ObjectStore.get_file
    monkeypatch.setattr(ObjectStore, "get_file", lambda own, key, to: (fetched.append(key), get(own, key, to))[1])
    assert query(open_lake(filled.settings), "SELECT count(*) n FROM frames", line="a-line").to_pylist() == [{"n": 3}]
    assert len(fetched) == 1 and "/frames/" in fetched[0] and "line=a-line" in fetched[0]


def test_old_files_with_fewer_columns_and_rows_that_others_deleted(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    class Older(Frozen):
        item_id: str
        subject: str

    with monkeypatch.context() as then:
        then.setitem(table_schemas.TABLES, "quarantine", Older)
        lake.tables.append("quarantine", [Older(item_id="1", subject="old")])
    assert query(lake, "SELECT subject, reason FROM quarantine").to_pylist() == [{"subject": "old", "reason": None}]
    lake.tables.append("quarantine", [item(2)])
    assert query(lake, "SELECT count(reason) AS n, count(*) AS m FROM quarantine").to_pylist() == [{"n": 1, "m": 2}]
    with lake.tables._iceberg._load("quarantine").update_schema() as update:
        update.rename_column("details", "was_details")  # read by PyIceberg from here on
    assert query(lake, "SELECT count(details) AS n, count(*) AS m FROM quarantine").to_pylist() == [{"n": 0, "m": 2}]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM '{file}'",
        "SELECT * FROM read_csv_auto('{file}')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_parquet('s3://lake/tables/x.parquet')",
        "SELECT * FROM read_parquet('https://127.0.0.1/x.parquet')",
        "COPY frames TO '{file}'",
        "COPY (SELECT 1) TO '{file}'",
        "ATTACH '{file}' AS other",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "CREATE TABLE x AS SELECT 1",
        "DELETE FROM frames",
        "SELECT 1; DELETE FROM frames",
        "SELECT 1; SELECT 2",
        "PRAGMA enable_profiling",
        "CALL pragma_database_size()",
        "EXPORT DATABASE '{file}'",
        "SELECT * FROM settings_of_python",
        "SELECT frames",
        "",
        "no sql",
    ],
)
def test_it_reads_the_tables_and_does_nothing_else(filled: Lake, tmp_path: Path, sql: str) -> None:
    file = tmp_path / "outside.txt"
    file.write_text("kept as it is")
    settings_of_python = filled.tables.scan("frames")  # a name that DuckDB would find where it may look
    assert settings_of_python.num_rows
    before = {path: path.read_bytes() for path in filled.settings.cache_dir.rglob("*.parquet")}
    with pytest.raises(ConfigError, match="query"):
        query(filled, sql.format(file=file))
    assert file.read_text() == "kept as it is" and list(tmp_path.glob("outside*")) == [file]
    assert {path: path.read_bytes() for path in filled.settings.cache_dir.rglob("*.parquet")} == before
    assert filled.tables.scan("frames").num_rows == 6


def test_names_with_quotes_in_them_are_values(filled: Lake) -> None:
    assert query(filled, "SELECT * FROM frames", line="a' OR '1' = '1").num_rows == 0


def test_without_duckdb_it_says_what_to_install(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    with pytest.raises(ConfigError, match="uv sync --extra query"):
        query(lake, "SELECT 1")


def test_revisions_of_a_month_stand_where_sql_finds_them(lake: Lake) -> None:
    """What a person asks most: the newest revision of each annotation."""
    older, newer = annotation(1), annotation(1, boxes=7).model_copy(update={"updated_at": AT + timedelta(hours=1)})
    lake.tables.append("annotations", [newer.model_copy(update={"revision_id": "f" * 64})])
    lake.tables.append("annotations", [older])
    newest = "row_number() OVER (PARTITION BY annotation_id ORDER BY updated_at DESC) = 1"
    (row,) = query(lake, f"SELECT objects FROM annotations QUALIFY {newest}").to_pylist()
    assert len(json.loads(row["objects"])) == 7
