"""Labels of detection lines: boxes, one row each.

Boxes are judged by what they cover inside the frame. One that sticks out by no more than `TOLERANCE_PX` (a browser's
rounding) is clipped; one that sticks out further was not drawn on this picture and is set aside.

A crowd (a region of many objects, `tasks.schemas.Box`) may be as large as the picture, and objects may lie on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tasks.config import Line
from tasks.schemas import Frame
from tasks.validation.inputs import FrameKey, Row

if TYPE_CHECKING:
    import pandas as pd

SUITE = "detection_labels"
TOLERANCE_PX = 0.5
MAX_DUPLICATE_IOU = 0.95

_SIDES = ("x_px", "y_px", "width_px", "height_px")

Boxes = npt.NDArray[np.float64]
_NOWHERE = (math.nan,) * 4
_NO_BOXES: Boxes = np.zeros((0, 4))


def parameters(line: Line) -> dict[str, Any]:
    """The suite's parameters for a line."""
    return {
        "classes": list(line.classes),
        "tolerance_px": TOLERANCE_PX,
        "min_side_px": line.plausible.min_side_px,
        "max_side_fraction": line.plausible.max_side_fraction,
        "max_duplicate_iou": MAX_DUPLICATE_IOU,
    }


def labels_table(annotations: Sequence[Row], frames: Mapping[FrameKey, Frame]) -> pd.DataFrame:
    """One row per object of these annotations, whose frames must all be in `frames`; row id `row_id`."""
    import pandas as pd

    ids, labels, corners, limits, duplicates, crowds = [], [], [], [], [], []
    for row in annotations:
        frame, objects = frames[row["recording_id"], row["frame_index"], row["frame_oid"]], row["objects"]
        own = np.array([_corners(item) for item in objects], dtype=np.float64).reshape(-1, 4)
        own_labels = [label if isinstance(label := item.get("label"), str) and label else None for item in objects]
        size = (frame.width_px, frame.height_px)
        ids += [row_id(row["annotation_id"], number) for number in range(len(objects))]
        labels += own_labels
        corners.append(own)
        limits.append(np.tile(np.array([*size, *size], dtype=np.float64), (len(objects), 1)))
        crowds.append(np.array([item.get("crowd") is True for item in objects], dtype=np.bool_))
        kinds = [
            f"crowd of {label}" if is_crowd else label for label, is_crowd in zip(own_labels, crowds[-1], strict=True)
        ]
        duplicates.append(duplicate_overlaps(np.clip(own, 0, limits[-1]), kinds))
    boxes, sizes = np.concatenate([_NO_BOXES, *corners]), np.concatenate([_NO_BOXES, *limits])
    inside = np.clip(boxes, 0, sizes)
    width, height = (inside[:, 2:] - inside[:, :2]).T
    is_single = ~np.concatenate([np.zeros(0, np.bool_), *crowds])
    fraction = np.maximum(width, height) / sizes.max(axis=1) * is_single
    measured = {
        "width_px": width,
        "height_px": height,
        "shortest_side_px": np.minimum(width, height),
        "outside_px": np.abs(boxes - inside).max(axis=1),
        "longest_side_fraction": fraction,
        "longest_side_percent": 100 * fraction,
        "duplicate_iou": np.concatenate([np.zeros(0), *duplicates]),
    }
    return pd.DataFrame({"row_id": ids, "label": labels, "box_complete": np.isfinite(boxes).all(axis=1), **measured})


def row_id(annotation_id: str, number: int) -> str:
    """The row id of an annotation's object, counted from 0."""
    return f"{annotation_id}#{number}"


def cleaned(objects: Sequence[dict[str, Any]], frame: Frame) -> list[dict[str, Any]]:
    """Objects that passed, clipped to their frame. A box that lies inside keeps its very numbers."""
    clean = []
    for item in objects:
        x, y, width, height = (float(item[name]) for name in _SIDES)
        left, top = max(x, 0.0), max(y, 0.0)
        if left != x or x + width > frame.width_px:
            width = min(x + width, float(frame.width_px)) - left
        if top != y or y + height > frame.height_px:
            height = min(y + height, float(frame.height_px)) - top
        box = {"label": item["label"], "x_px": left, "y_px": top, "width_px": width, "height_px": height}
        clean.append(box | {"crowd": True} if item.get("crowd") is True else box)
    return clean


def _corners(item: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Left, top, right, bottom; all NaN unless the object states four finite numbers."""
    try:
        x, y, width, height = (_number(item.get(name)) for name in _SIDES)
    except TypeError:
        return _NOWHERE
    return (x, y, x + width, y + height) if math.isfinite(x + y + width + height) else _NOWHERE


def _number(value: Any) -> float:
    if type(value) is float or type(value) is int:
        return float(value)
    raise TypeError


def duplicate_overlaps(boxes: Boxes, labels: Sequence[str | None]) -> npt.NDArray[np.float64]:
    """How much each box overlaps an earlier one of its class that is no duplicate itself.

    Args:
        boxes: float64 [n, 4], left, top, right, bottom; NaN where a box is not complete.
        labels: The n classes.

    Returns:
        float64 [n]: the largest intersection over union with such a box, 0 if there is none.
    """
    found = np.zeros(len(boxes))
    if len(boxes) < 2:
        return found
    numbers = np.array([hash(label) for label in labels])
    left, top, right, bottom = boxes.T
    wide = np.minimum(right[:, None], right) - np.maximum(left[:, None], left)
    high = np.minimum(bottom[:, None], bottom) - np.maximum(top[:, None], top)
    overlap = np.maximum(wide, 0) * np.maximum(high, 0) * (numbers[:, None] == numbers)
    area = (right - left) * (bottom - top)
    union = area[:, None] + area - overlap
    iou = np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
    if not np.triu(iou > MAX_DUPLICATE_IOU, 1).any():
        found[:] = np.triu(iou, 1).max(axis=0)
        return found
    originals: list[int] = [0]
    for number in range(1, len(boxes)):
        found[number] = iou[number, originals].max()
        if not found[number] > MAX_DUPLICATE_IOU:
            originals.append(number)
    return found
