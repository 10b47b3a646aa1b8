"""Numbers of detection: manifest rows and a detector's arrays to boxes, which `tasks.metrics.detection` scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.config import Line
from tasks.errors import DataError
from tasks.metrics.boxes import Boxes
from tasks.metrics.detection import METRICS as METRICS
from tasks.metrics.detection import judge as judge_boxes
from tasks.metrics.detection import size_ranges
from tasks.metrics.judgement import Judgement

if TYPE_CHECKING:
    import pyarrow as pa

Rows = Sequence[dict[str, Any]]

NOTHING = 0.05
"""Of AP50: a detector that puts boxes at random over sparse frames reaches less."""


def slices(line: Line) -> dict[str, tuple[str, ...]]:
    """Classes, and object sizes by the line's limits in pixels."""
    plan = line.evaluation
    sizes = [name for name in size_ranges(plan.small_px, plan.large_px) if name != "all"]
    return {"class": tuple(line.classes), "size": tuple(sizes)}


def tabulate(outputs: Sequence[Any], frames: Rows, model_classes: Sequence[str], line: Line) -> pa.Table:
    """Rows of predictions: one for each box, with the frame it is on.

    Args:
        outputs: For each frame, floats [n, 6]: x1, y1, x2, y2 in pixels, score, the model's class index.
        frames: Manifest rows in the same order.
        model_classes: The model's class names; boxes of a class that the line does not have are left out.
        line: Whose classes count.
    """
    import pyarrow as pa

    boxes = [np.asarray(output, dtype=np.float64).reshape(-1, 6) for output in outputs]
    image = np.repeat(np.arange(len(boxes)), [len(found) for found in boxes])
    flat = np.concatenate(boxes) if boxes else np.zeros((0, 6))
    names = np.array([line.class_named(name) or "" for name in model_classes], dtype=object)
    label = names[flat[:, 5].astype(np.intp)] if len(flat) else np.zeros(0, dtype=object)
    own = label != ""
    image, flat, label = image[own], flat[own], label[own]
    return pa.table(
        {
            "frame_oid": pa.array([frames[i]["frame_oid"] for i in image], pa.string()),
            "recording_id": pa.array([frames[i]["recording_id"] for i in image], pa.string()),
            "frame_index": pa.array([frames[i]["frame_index"] for i in image], pa.int64()),
            "label": pa.array(label.tolist(), pa.string()),
            "score": pa.array(flat[:, 4]),
            "x_px": pa.array(flat[:, 0]),
            "y_px": pa.array(flat[:, 1]),
            "width_px": pa.array(flat[:, 2] - flat[:, 0]),
            "height_px": pa.array(flat[:, 3] - flat[:, 1]),
        }
    )


def judge(predictions: pa.Table, frames: Rows, line: Line) -> Judgement:
    """Score stored boxes against the labelled ones."""
    plan = line.evaluation
    return judge_boxes(
        predicted_boxes(predictions, frames, line),
        labelled_boxes(frames, line),
        classes=tuple(line.classes),
        images=len(frames),
        small_px=plan.small_px,
        large_px=plan.large_px,
        score_threshold=plan.score_threshold,
    )


def predicted_boxes(predictions: pa.Table, frames: Rows, line: Line) -> Boxes:
    """Stored predictions as arrays, in their stored order."""
    place = {(row["recording_id"], row["frame_index"]): i for i, row in enumerate(frames)}
    classes = {name: i for i, name in enumerate(line.classes)}
    columns = predictions.to_pydict()
    where = zip(columns["recording_id"], columns["frame_index"], strict=True)
    sides = ("x_px", "y_px", "width_px", "height_px")
    return Boxes.of(
        [place[key] for key in where],
        [classes[name] for name in columns["label"]],
        np.stack([np.asarray(columns[side], dtype=np.float64) for side in sides], axis=1),
        score=columns["score"],
    )


def labelled_boxes(frames: Rows, line: Line) -> Boxes:
    """The manifest's labels as arrays.

    Raises:
        DataError: A label names a class that the line does not have.
    """
    classes = {name: i for i, name in enumerate(line.classes)}
    image, label, xywh, crowd = [], [], [], []
    for i, row in enumerate(frames):
        for box in json.loads(row["objects"] or "[]"):
            if box["label"] not in classes:
                where = f"{row['recording_name']} frame {row['frame_index']}"
                raise DataError(f"{where}: label {box['label']!r}", expected=f"one of: {', '.join(classes)}")
            image.append(i)
            label.append(classes[box["label"]])
            xywh.append([box["x_px"], box["y_px"], box["width_px"], box["height_px"]])
            crowd.append(bool(box.get("crowd", False)))
    return Boxes.of(image, label, xywh, crowd=crowd)
