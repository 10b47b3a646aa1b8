"""The frame's edge in the colour of what was said of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nightscope_kinds.brightness.metrics import labels_of

from tasks.config import Line
from tasks.kind import FrameView, Row, Shape
from tasks.metrics.judgement import Judgement

if TYPE_CHECKING:
    import pyarrow as pa


def views(
    predictions: pa.Table, frames: Sequence[Row], line: Line, judgement: Judgement, images: Sequence[int]
) -> list[FrameView]:
    """Some frames."""
    there, said = labels_of(frames), predictions.column("label").to_pylist()
    scores = predictions.column("score").to_pylist()
    found = []
    for image in images:
        row = frames[image]
        width, height = float(row["width_px"]), float(row["height_px"])
        edge = ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height))
        state = "right" if there[image] == said[image] else "wrong"
        keys = ("frame_oid", "recording_name", "frame_index", "pts_s", "width_px", "height_px")
        found.append(
            FrameView(
                **{key: row[key] for key in keys},
                errors=int(judgement.errors[image]),
                labelled=(Shape(points=edge, label=there[image], state=state),),
                predicted=(Shape(points=edge, label=said[image], state=state, score=scores[image]),),
            )
        )
    return found
