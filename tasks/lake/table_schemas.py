"""The tables of the lake and how nouns become rows.

A table's columns are its noun's fields, in their order: `str`, `int`, `float`, `bool` as themselves, `datetime` as
timestamp in microseconds UTC, and everything nested (tuples, dicts, other nouns) as a canonical JSON string. Every
column may be null, so that a noun can gain a field and old rows stay readable; the noun itself refuses what is missing.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from tasks.errors import ConfigError, DataError
from tasks.schemas import (
    Annotation,
    EvidenceEntry,
    Frame,
    Landing,
    Prediction,
    QuarantineItem,
    Recording,
    SplitAssignment,
    Verdict,
    canonical_json,
    faults_of,
)

if TYPE_CHECKING:
    import pyarrow as pa

TABLES: dict[str, type[BaseModel]] = {
    "recordings": Recording,
    "frames": Frame,
    "annotations": Annotation,
    "predictions": Prediction,
    "quarantine": QuarantineItem,
    "splits": SplitAssignment,
    "verdicts": Verdict,
    "evidence": EvidenceEntry,
    "landings": Landing,
}

RETIRED = frozenset({"predictions"})
"""Tables that nothing writes any more. Those of old lakes stay: they are read, erased from, collected like others."""

Column = Literal["string", "int64", "float64", "bool", "timestamp", "json"]
M = TypeVar("M", bound=BaseModel)
_SCALARS: dict[Any, Column] = {
    str: "string", int: "int64", float: "float64", bool: "bool", datetime: "timestamp"
}  # fmt: skip


def noun_of(table: str) -> type[BaseModel]:
    """The noun whose rows a table holds.

    Raises:
        ConfigError: There is no such table.
    """
    try:
        return TABLES[table]
    except KeyError:
        raise ConfigError(f"table {table!r}: no such table", expected=f"one of: {', '.join(TABLES)}") from None


@cache
def columns_of(noun: type[BaseModel]) -> dict[str, Column]:
    """The columns of a noun's table, in field order."""
    return {name: _column(field.annotation) for name, field in noun.model_fields.items()}


def arrow_schema(noun: type[BaseModel]) -> pa.Schema:
    """The Arrow schema of a noun's table; all columns nullable."""
    import pyarrow as pa

    kinds = {
        "string": pa.string(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "json": pa.string(),
    }
    return pa.schema([pa.field(name, kinds[column]) for name, column in columns_of(noun).items()])


def to_arrow(table: str, rows: Sequence[BaseModel] | pa.Table) -> pa.Table:
    """Rows as the table stores them.

    Args:
        table: Name of the table.
        rows: The table's noun, or an Arrow table whose columns are among the table's (the others become null).

    Raises:
        ConfigError: There is no such table, or not any more.
        DataError: A row is another noun, or a column does not belong to the table or cannot be cast to it.
    """
    import pyarrow as pa

    noun = noun_of(table)
    if table in RETIRED:
        raise ConfigError(
            f"table {table!r}: is only read any more",
            expected=f"one of: {', '.join(t for t in TABLES if t not in RETIRED)}",
        )
    schema = arrow_schema(noun)
    if isinstance(rows, pa.Table):
        return _conform(table, rows, schema)
    strangers = {type(row).__name__ for row in rows if not isinstance(row, noun)}
    if strangers:
        raise DataError(f"table {table}", expected=f"rows of {noun.__name__}", found=", ".join(sorted(strangers)))
    arrays = [
        pa.array([_cell(column, getattr(row, name)) for row in rows], type=schema.field(name).type)
        for name, column in columns_of(noun).items()
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def from_arrow(rows: pa.Table, model: type[M]) -> list[M]:
    """Rows as nouns. A column the model lacks is left out, a null that it does not allow becomes its default.

    Raises:
        DataError: A row does not make a valid noun; names the row's number and the faults.
    """
    columns = columns_of(model)
    present = [name for name in columns if name in rows.schema.names]
    nullable = {name for name in present if _allows_none(model.model_fields[name].annotation)}
    cells = [_parsed(columns[name], rows.column(name).to_pylist()) for name in present]
    parsed: list[M] = []
    for number, values in enumerate(zip(*cells, strict=True)):
        fields = {n: v for n, v in zip(present, values, strict=True) if v is not None or n in nullable}
        try:
            parsed.append(model.model_validate(fields))
        except ValidationError as error:
            raise DataError(f"row {number} is no {model.__name__}: {faults_of(error)}") from error
    return parsed


def _conform(table: str, rows: pa.Table, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    strangers = [name for name in rows.schema.names if name not in schema.names]
    if strangers:
        raise DataError(f"table {table}: no column {', '.join(strangers)}", expected=", ".join(schema.names))
    try:
        return pa.Table.from_arrays(
            [
                rows.column(field.name).cast(field.type)
                if field.name in rows.schema.names
                else pa.nulls(rows.num_rows, field.type)
                for field in schema
            ],
            schema=schema,
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"table {table}: rows do not fit its columns: {error}") from error


def _column(annotation: Any) -> Column:
    kind = _without_none(annotation)
    if typing.get_origin(kind) is Literal:
        kind = type(typing.get_args(kind)[0])
    if isinstance(kind, type) and issubclass(kind, Enum) and issubclass(kind, str):
        kind = str
    return _SCALARS.get(kind, "json")


def _without_none(annotation: Any) -> Any:
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation
    rest = [part for part in typing.get_args(annotation) if part is not type(None)]
    return rest[0] if len(rest) == 1 else annotation


def _allows_none(annotation: Any) -> bool:
    return annotation is Any or type(None) in typing.get_args(annotation)


def _cell(column: Column, value: Any) -> Any:
    if value is None:
        return None
    if column == "json":
        return canonical_json(_plain(value))
    return value.value if isinstance(value, Enum) else value


def _plain(value: Any) -> Any:
    """Nested nouns as JSON values."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _parsed(column: Column, values: list[Any]) -> list[Any]:
    if column != "json":
        return values
    return [None if value is None else json.loads(value) for value in values]
