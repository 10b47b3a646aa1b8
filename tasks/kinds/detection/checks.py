"""Labels of detection lines: boxes, one row each.

Boxes are judged by what they cover inside the frame. One that sticks out by no more than `TOLERANCE_PX` (a browser's
rounding) is clipped; one that sticks out further was not drawn on this picture and is set aside.

A crowd (a region of many objects, `boxes.Box`) may be as large as the picture, and objects may lie on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tasks.config import Line
from tasks.kinds.detection.boxes import single
from tasks.metrics.boxes import Boxes as Drawn
from tasks.metrics.label_agreement import LabelAgreement, compute_label_agreement
from tasks.schemas import Frame
from tasks.validation.inputs import FrameKey, Row

if TYPE_CHECKING:
    import pandas as pd

SUITE = "detection_labels"
TITLE = "Labelled boxes"
JUDGED_ALONE = True
TOLERANCE_PX = 0.5
MAX_DUPLICATE_IOU = 0.95
_BLOCK = 512
"""Boxes compared with as many others at once."""

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


def agreement(first: Sequence[dict[str, Any]], second: Sequence[dict[str, Any]], line: Line) -> list[LabelAgreement]:
    """How many boxes of each class two people have in common on one frame, crowds left out."""
    return compute_label_agreement(_drawn(first, line), _drawn(second, line), len(line.classes))


def _drawn(objects: Sequence[dict[str, Any]], line: Line) -> Drawn:
    place = {name: number for number, name in enumerate(line.classes)}
    boxes = counted(objects)
    return Drawn.of(
        np.zeros(len(boxes)),
        [place[item["label"]] for item in boxes],
        [[float(item[name]) for name in _SIDES] for item in boxes],
    )


def counted(objects: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The boxes that are one object each."""
    return single(objects)


def is_learned_from(objects: Sequence[dict[str, Any]]) -> bool:
    """Whether a training takes a frame: crowds cannot be left out of one, and would be learned as background."""
    return len(single(objects)) == len(objects)


def notes(frames: Sequence[Sequence[dict[str, Any]]]) -> list[str]:
    """What becomes of the crowds, where there are any."""
    counts = [len(objects) - len(single(objects)) for objects in frames]
    if not any(counts):
        return []
    return [
        f"boxes that mark crowds of objects: {sum(counts)}, on {sum(map(bool, counts))} frames. They count as no "
        "labels; such frames are not trained on, and in the test what is found on a crowd is neither right nor wrong"
    ]


def described(item: Mapping[str, Any]) -> str:
    """A box in a few words: its class and its place in pixels."""
    numbers = [item.get(name) for name in _SIDES]
    if not all(isinstance(number, int | float) for number in numbers):
        return str(item.get("label"))
    x, y, width, height = (float(number) for number in numbers if number is not None)
    return f"{item.get('label')}: left {x:.1f}, top {y:.1f}, width {width:.1f}, height {height:.1f} px"


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
    except (TypeError, OverflowError):
        return _NOWHERE
    return (x, y, x + width, y + height) if math.isfinite(x + y + width + height) else _NOWHERE


def _number(value: Any) -> float:
    if type(value) is float or type(value) is int:
        return float(value)
    raise TypeError


def duplicate_overlaps(boxes: Boxes, labels: Sequence[str | None]) -> npt.NDArray[np.float64]:
    """How much each box overlaps an earlier one of its class that is no duplicate itself.

    Memory grows with the number of boxes, not with its square: they are compared `_BLOCK` at a time.

    Args:
        boxes: float64 [n, 4], left, top, right, bottom; NaN where a box is not complete.
        labels: The n classes.

    Returns:
        float64 [n]: the largest intersection over union with such a box, 0 if there is none.
    """
    found = np.zeros(len(boxes))
    members: dict[str | None, list[int]] = {}
    for index, label in enumerate(labels):
        members.setdefault(label, []).append(index)
    for own in members.values():
        found[own] = _overlaps_in_class(boxes[own])
    return found


def _overlaps_in_class(boxes: Boxes) -> npt.NDArray[np.float64]:
    found = np.zeros(len(boxes))
    originals = np.zeros(len(boxes), dtype=np.bool_)
    for start in range(0, len(boxes), _BLOCK):
        block = boxes[start : start + _BLOCK]
        earlier = boxes[:start][originals[:start]]
        for part in range(0, len(earlier), _BLOCK):
            best = _iou(block, earlier[part : part + _BLOCK]).max(axis=1)
            found[start : start + _BLOCK] = np.maximum(found[start : start + _BLOCK], best)
        among = np.tril(_iou(block, block), -1)
        best, is_original = found[start : start + _BLOCK], originals[start : start + _BLOCK]  # views
        simply = np.maximum(best, among.max(axis=1))
        if not (simply > MAX_DUPLICATE_IOU).any():
            best[:], is_original[:] = simply, True
            continue
        for number in range(len(block)):
            best[number] = max(best[number], among[number, :number][is_original[:number]].max(initial=0))
            is_original[number] = not best[number] > MAX_DUPLICATE_IOU
    return found


def _iou(first: Boxes, second: Boxes) -> npt.NDArray[np.float64]:
    """Intersection over union of each box with each: [n, 4] and [m, 4] to [n, m]; 0 where one is not complete."""
    wide = np.minimum(first[:, None, 2], second[:, 2]) - np.maximum(first[:, None, 0], second[:, 0])
    high = np.minimum(first[:, None, 3], second[:, 3]) - np.maximum(first[:, None, 1], second[:, 1])
    overlap = np.maximum(wide, 0) * np.maximum(high, 0)
    area = [(own[:, 2] - own[:, 0]) * (own[:, 3] - own[:, 1]) for own in (first, second)]
    union = area[0][:, None] + area[1] - overlap
    iou: npt.NDArray[np.float64] = np.zeros(overlap.shape)
    np.divide(overlap, union, out=iou, where=union > 0)
    return iou
