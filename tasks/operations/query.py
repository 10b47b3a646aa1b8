"""Ask the lake's tables by SQL."""

from __future__ import annotations

from typing import Any

from tasks.lake.query import query
from tasks.session import Session


def query_lake(
    session: Session, sql: str, *, line: str | None = None, at_most: int | None = None
) -> tuple[list[str], list[dict[str, Any]]]:
    """Answer one SELECT over the lake's tables, as `tasks.lake.query`.

    Returns:
        The answer's columns, and its rows.

    Raises:
        ConfigError: DuckDB is not installed, the statement is not one SELECT, or DuckDB cannot answer it.
    """
    answer = query(session.lake, sql, line=line, at_most=at_most)
    return list(answer.column_names), answer.to_pylist()
