"""SQL over the tables, by DuckDB: reading only, in this process, on this machine's copies of the tables' files.

DuckDB opens nothing but these files: no other file, no network, no extension, and no statement but one that selects.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import ConfigError
from tasks.lake.lake import Lake
from tasks.lake.table_files import Where, empty
from tasks.lake.table_schemas import TABLES, arrow_schema, columns_of

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

_CLOSED: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,  # or a name that is no table is looked for among Python's variables
}


def query(lake: Lake, sql: str, *, line: str | None = None, at_most: int | None = None) -> pa.Table:
    """Answer one SELECT over the tables of `table_schemas.TABLES`.

    Only the files of tables that the statement names are fetched; of a table with a column `line`, only those of the
    line that is asked for. Nested columns (`objects`, `details`, ...) are JSON text, for DuckDB's `json_extract`.

    Args:
        lake: The lake.
        sql: One statement, in DuckDB's SQL.
        line: Only rows of this line, where the table has lines.
        at_most: How many rows to return.

    Raises:
        ConfigError: DuckDB is not installed, the statement is not one SELECT, or DuckDB cannot answer it.
        StorageUnavailable: S3 or the catalog did not answer.
    """
    try:
        import duckdb
    except ImportError as error:
        raise ConfigError(
            "queries: DuckDB is not installed", fix="install the extra: uv sync --extra query, or pip install duckdb"
        ) from error
    with tempfile.TemporaryDirectory() as spill, duckdb.connect(config=_CLOSED) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET temp_directory = ?", [spill])
        try:
            statements = connection.extract_statements(sql)
            if [one.type.name for one in statements] != ["SELECT"]:
                raise ConfigError("query: only reads", expected="one SELECT", found=f"{len(statements)} statement(s)")
            files = [file for table in _named(connection, sql) for file in _view(connection, lake, table, line)]
            _close(connection, files)
            rows = connection.sql(sql)
            answer: pa.Table = (rows if at_most is None else rows.limit(at_most)).to_arrow_table()
            return answer
        except duckdb.Error as error:
            raise ConfigError(f"query: {error}", expected=f"SQL of DuckDB; tables: {', '.join(TABLES)}") from error


def _named(connection: DuckDBPyConnection, sql: str) -> list[str]:
    """Which of the lake's tables a SELECT names, by DuckDB's own parser."""
    ((parsed,),) = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()
    return sorted(set(_names_in(json.loads(parsed))) & TABLES.keys())


def _names_in(node: Any) -> Iterator[str]:
    """The names of tables in a parsed statement, in lower case: SQL does not tell cases apart."""
    if isinstance(node, dict):
        if node.get("type") == "BASE_TABLE":
            yield str(node.get("table_name")).lower()
        for part in node.values():
            yield from _names_in(part)
    elif isinstance(node, list):
        for part in node:
            yield from _names_in(part)


def _view(connection: DuckDBPyConnection, lake: Lake, table: str, line: str | None) -> Sequence[Path]:
    """Name a table in the connection; the files that it will read."""
    noun = TABLES[table]
    where: Where = {"line": line} if line is not None and "line" in columns_of(noun) else {}
    planned = lake.tables.planned(table, where)
    if planned is None:  # rows that other tools deleted: not told by the files alone
        connection.register(table, lake.tables.scan(table, where))
        return []
    connection.register(f"{table} without rows", empty(arrow_schema(noun)))
    files = lake.tables.fetched(planned)
    parts = [f'SELECT * FROM "{table} without rows"']
    if files:  # by name: older files have fewer columns, and in another order
        parts.append(f"SELECT * FROM read_parquet({_listed(files)}, union_by_name = true){_condition(where)}")
    connection.execute(f'CREATE VIEW "{table}" AS {" UNION ALL BY NAME ".join(parts)}')
    return files


def _close(connection: DuckDBPyConnection, files: Sequence[Path]) -> None:
    """Let the statement read these files and nothing else, and change no setting."""
    connection.execute(f"SET allowed_paths = {_listed(files)}")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _listed(files: Sequence[Path]) -> str:
    return f"[{', '.join(_text(str(file)) for file in files)}]"


def _condition(where: Where) -> str:
    return "".join(f" WHERE {name} = {_text(value)}" for name, value in where.items())


def _text(value: Any) -> str:
    """A string as SQL writes it."""
    return "'" + str(value).replace("'", "''") + "'"
