"""`nightscope query`: SQL over the lake's tables."""

from __future__ import annotations

from typing import Annotated

import typer

from tasks.cli.output import AsJson, escape, paper, print_json, table
from tasks.session import open_session


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT, as DuckDB writes it, over the lake's tables.")],
    line: Annotated[
        str | None, typer.Option("--line", metavar="LINE", help="Only rows and files of this line.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many rows at most.")] = 1000,
    json_: AsJson = False,
) -> None:
    """Answer one SELECT over the lake's tables: recordings, frames, annotations, verdicts and the others.

    Reads only; asks the catalog, fetches what is not on this machine yet, and runs here. Needs the extra `query`.
    """
    from tasks import operations

    with open_session() as session:
        columns, rows = operations.query_lake(session, sql, line=line, at_most=limit)
    if json_:
        print_json(rows)
        return
    shown = table(f"{len(rows):,} rows" + (f", the first {limit:,}" if len(rows) == limit else ""), *columns)
    for row in rows:
        shown.add_row(*(escape("" if row[name] is None else str(row[name])) for name in columns))
    paper.print(shown)
