"""Frames with their boxes, for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.config import Line
from tasks.kind import FrameView, Shape
from tasks.kinds.detection.metrics import Rows, labelled_boxes, predicted_boxes
from tasks.metrics.boxes import Boxes
from tasks.metrics.confusion import pair_boxes
from tasks.metrics.judgement import Judgement

if TYPE_CHECKING:
    import pyarrow as pa


def views(
    predictions: pa.Table, frames: Rows, line: Line, judgement: Judgement, images: Sequence[int]
) -> list[FrameView]:
    """Frames with their boxes, each right, wrong or missed at the judgement's score threshold."""
    found, truth = predicted_boxes(predictions, frames, line), labelled_boxes(frames, line)
    marks = pair_boxes(found, truth, float(judgement.facts["score_threshold"]))
    classes = tuple(line.classes)
    views = []
    for image in images:
        predicted = [
            _shape(found, d, classes, _state(marks.partner[d], found.label[d], truth.label, "wrong"), scored=True)
            for d in np.flatnonzero((found.image == image) & (marks.partner >= -1))
        ]
        labelled = [
            _shape(truth, g, classes, _state(marks.found_by[g], truth.label[g], found.label, "missed"))
            for g in np.flatnonzero((truth.image == image) & ~truth.crowd)
        ]
        row = frames[image]
        keys = ("frame_oid", "recording_name", "frame_index", "pts_s", "width_px", "height_px")
        views.append(
            FrameView(
                **{key: row[key] for key in keys},
                errors=int(judgement.errors[image]),
                labelled=tuple(labelled),
                predicted=tuple(predicted),
            )
        )
    return views


def _state(partner: int, label: int, labels: Any, otherwise: Any) -> Any:
    if partner < 0:
        return otherwise
    return "right" if labels[partner] == label else "wrong"


def _shape(boxes: Boxes, index: int, classes: tuple[str, ...], state: Any, *, scored: bool = False) -> Shape:
    x, y, w, h = (round(float(v), 1) for v in boxes.xywh[index])
    return Shape(
        points=((x, y), (x + w, y), (x + w, y + h), (x, y + h)),
        label=classes[boxes.label[index]],
        state=state,
        score=round(float(boxes.score[index]), 3) if scored else None,
    )
