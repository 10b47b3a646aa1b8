"""What a model says of one image, as rows: by its kind's `answers`, else by what its metrics store of a prediction."""

from __future__ import annotations

from typing import Any

from tasks.config import Line
from tasks.kind import Kind, ModelRef, Row

_WHERE = {"frame_oid": "", "recording_id": "", "recording_name": "", "frame_index": 0, "pts_s": None}
"""Keys of a manifest's row that `tabulate` may copy: no image outside of the lake has them."""


def columns_of(kind: Kind, line: Line, model: ModelRef) -> tuple[str, ...]:
    """Names of a row's values, units in the names."""
    if kind.answers is not None:
        return kind.answers.columns(line)
    table = kind.metrics.tabulate([], [], model.classes, line)
    return tuple(name for name in table.column_names if name not in _WHERE)


def rows_of(kind: Kind, line: Line, model: ModelRef, output: Any, min_score: float | None) -> list[Row]:
    """A predictor's output for one image as rows."""
    if kind.answers is not None:
        return kind.answers.rows(output, model, line, min_score)
    rows = kind.metrics.tabulate([output], [dict(_WHERE)], model.classes, line).to_pylist()
    own = [{name: value for name, value in row.items() if name not in _WHERE} for row in rows]
    return [row for row in own if min_score is None or row.get("score") is None or row["score"] >= min_score]
