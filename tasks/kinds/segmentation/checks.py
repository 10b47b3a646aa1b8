"""Labels of segmentation lines: a row for each cell, painted or boxed.

Masks are looked at as run lengths (`shapes.py`): a night of a hundred thousand cells costs seconds. A box that a model
is to fill has a class and a place, and nothing else is asked of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.config import Line
from tasks.kind import Object, Row
from tasks.kinds.segmentation.objects import coco_masks, filled, is_crowd, is_to_fill
from tasks.kinds.segmentation.runs import Bools, Ints
from tasks.kinds.segmentation.shapes import Floats, Shapes, hole_pixels, measure, overlaps
from tasks.labeling.convert import is_number
from tasks.metrics import masks
from tasks.metrics.label_agreement import LEAST_IOU, LabelAgreement, agreement_of
from tasks.schemas import Frame, Oid

if TYPE_CHECKING:
    import pandas as pd

SUITE = "segmentation_labels"
TITLE = "Labelled cells"
JUDGED_ALONE = True
MAX_OVERLAP_PERCENT = 20.0
"""Of a cell's own pixels: borders that two cells share are painted over by a pixel or two."""
MAX_REST_PERCENT = 5.0
"""Of a cell's pixels that may lie apart from its largest piece: a crumb of the brush."""
MAX_HOLE_PERCENT = 10.0
"""Of a cell's pixels with its holes filled."""
MAX_DUPLICATE_IOU = 0.8

FrameKey = tuple[Oid, int, Oid]
_SIDES = ("x_px", "y_px", "width_px", "height_px")
_MOST_PIXELS = 2**31


def parameters(line: Line) -> dict[str, Any]:
    """The suite's parameters for a line."""
    return {
        "classes": list(line.classes),
        "min_side_px": line.plausible.min_side_px,
        "max_side_fraction": line.plausible.max_side_fraction,
        "max_overlap_percent": MAX_OVERLAP_PERCENT,
        "max_rest_percent": MAX_REST_PERCENT,
        "max_hole_percent": MAX_HOLE_PERCENT,
        "max_duplicate_iou": MAX_DUPLICATE_IOU,
    }


def labels_table(annotations: Sequence[Row], frames: Mapping[FrameKey, Frame]) -> pd.DataFrame:
    """One row per object of these annotations, whose frames must all be in `frames`; row id `row_id`.

    What is measured of a mask is empty (NaN) for a box to fill, and for a mask that is damaged or of another size.
    """
    import pandas as pd

    items = [(item, frame) for row in annotations for frame in [frames[_key(row)]] for item in row["objects"]]
    counts = [len(row["objects"]) for row in annotations]
    to_fill = np.array([is_to_fill(item) for item, _ in items], dtype=np.bool_)
    sized = np.array([_is_sized(item, frame) for item, frame in items], dtype=np.bool_) | to_fill
    texts = [item["mask"] if own else "" for (item, _), own in zip(items, sized & ~to_fill, strict=True)]
    sides = np.array([(frame.height_px, frame.width_px) for _, frame in items], dtype=np.int64).reshape(-1, 2)
    shapes = measure(texts, sides[:, 0], sides[:, 1])
    empty = shapes.complete & (shapes.area_px == 0)
    boxed = np.array([own and _is_box(item) for (item, _), own in zip(items, to_fill, strict=True)], dtype=np.bool_)
    found = {
        "row_id": [row_id(row["annotation_id"], n) for row in annotations for n in range(len(row["objects"]))],
        "label": [_label_of(item) for item, _ in items],
        "complete": np.where(to_fill, boxed, shapes.complete | ~sized),
        "size_fits": sized,
        "states": [_size_of(item) for item, _ in items],
        "frame_size": [f"{frame.width_px} x {frame.height_px} px" for _, frame in items],
        "has_pixels": ~empty,
        "crosses_itself": np.array([item.get("crosses_itself") is True for item, _ in items], dtype=np.bool_),
    }
    there = shapes.complete & ~empty
    return pd.DataFrame(
        found | _measured(texts, shapes, there, sides) | _compared(texts, found["label"], shapes, there, counts, sides)
    )


def _measured(texts: Sequence[str], shapes: Shapes, there: Bools, sides: Ints) -> dict[str, Floats]:
    """What is measured of each mask by itself, NaN where `there` is false."""
    width, height = shapes.right - shapes.left, shapes.bottom - shapes.top
    area = np.maximum(shapes.area_px, 1)
    holes = np.zeros(len(texts))
    for index in np.flatnonzero(there & (shapes.holes > 0)):
        holes[index] = hole_pixels(texts[index], int(sides[index, 0]))
    own = {
        "area_px": shapes.area_px,
        "width_px": width,
        "height_px": height,
        "shortest_side_px": np.minimum(width, height),
        "longest_side_fraction": np.maximum(width, height) / sides.max(axis=1, initial=1),
        "longest_side_percent": 100 * np.maximum(width, height) / sides.max(axis=1, initial=1),
        "pieces": shapes.pieces,
        "rest_percent": 100 * (area - shapes.largest_px) / area,
        "holes": shapes.holes,
        "hole_percent": 100 * holes / (area + holes),
    }
    return {name: np.where(there, values, math.nan) for name, values in own.items()}


def _compared(
    texts: Sequence[str], labels: Sequence[str | None], shapes: Shapes, there: Bools, counts: Sequence[int], sides: Ints
) -> dict[str, Floats]:
    """How much each mask overlaps others of its annotation, and whether it is an earlier one again."""
    overlap, duplicate = np.full(len(texts), math.nan), np.full(len(texts), math.nan)
    ends = np.cumsum(counts, dtype=np.int64)
    for begin, end in zip(ends - np.asarray(counts, dtype=np.int64), ends, strict=True):
        own = begin + np.flatnonzero(there[begin:end])
        if not len(own):
            continue
        shared = overlaps([texts[index] for index in own], int(sides[own[0], 0]), int(sides[own[0], 1]))
        again = _again(shared, shapes.area_px[own], [labels[index] for index in own])
        original = again <= MAX_DUPLICATE_IOU
        duplicate[own] = again
        overlap[own] = np.where(original, 100 * np.minimum((shared * original).sum(axis=1), 1), 0)
    return {"overlap_percent": overlap, "duplicate_iou": duplicate}


def _again(shared: Floats, area: Ints, labels: Sequence[str | None]) -> Floats:
    """The largest intersection over union of each with an earlier mask of its class that is none again itself."""
    both = shared * area[:, None]
    iou = both / np.maximum(area[:, None] + area - both, 1)
    found = np.zeros(len(area))
    for index, other in np.argwhere(np.tril(iou, -1) > MAX_DUPLICATE_IOU):  # by index, so the earlier ones are settled
        if labels[index] == labels[other] and found[other] <= MAX_DUPLICATE_IOU:
            found[index] = max(found[index], iou[index, other])
    return found


def _key(row: Row) -> FrameKey:
    return row["recording_id"], row["frame_index"], row["frame_oid"]


def _label_of(item: Object) -> str | None:
    label = item.get("label")
    return label if isinstance(label, str) and label else None


def _is_sized(item: Object, frame: Frame) -> bool:
    """Whether an object states a mask of its frame's size."""
    size = (item.get("height_px"), item.get("width_px"))
    return (
        isinstance(item.get("mask"), str)
        and all(type(side) is int for side in size)
        and size == (frame.height_px, frame.width_px)
        and frame.height_px * frame.width_px <= _MOST_PIXELS
    )


def _size_of(item: Object) -> str:
    return (
        "no mask" if not isinstance(item.get("mask"), str) else f"{item.get('width_px')} x {item.get('height_px')} px"
    )


def _is_box(item: Object) -> bool:
    """Whether a box to fill has a place and an area."""
    sides = [item.get(name) for name in _SIDES]
    return all(map(is_number, sides)) and float(item["width_px"]) > 0 and float(item["height_px"]) > 0


def agreement(first: Sequence[Object], second: Sequence[Object], line: Line) -> list[LabelAgreement]:
    """How many cells of each class two people have in common on one frame: masks whose IoU is at least 0.5."""
    found = []
    for name in line.classes:
        mine, theirs = (coco_masks([o for o in filled(own) if o["label"] == name]) for own in (first, second))
        found.append(agreement_of(masks.iou(mine, theirs), LEAST_IOU))
    return found


def counted(objects: Sequence[Object]) -> list[Object]:
    """The cells that have a mask."""
    return filled(objects)


def is_learned_from(objects: Sequence[Object]) -> bool:
    """Whether a training takes a frame: a cell that is only boxed would be learned as background."""
    return not any(map(is_to_fill, objects))


def notes(frames: Sequence[Sequence[Object]]) -> list[str]:
    """How many cells the pictures cut, where there are any."""
    cut = [sum(item.get("at_border") is True for item in objects) for objects in frames]
    return [f"cells that the border of their picture cuts: {sum(cut)}, on {sum(map(bool, cut))} pictures"] * any(cut)


def unfinished(objects: Sequence[Object]) -> str | None:
    """Why a picture belongs to no dataset yet: a cell without a mask would be learned, and tested, as background."""
    if any(map(is_crowd, objects)):
        return "a box marks a crowd of cells, whose masks nobody drew"
    if any(map(is_to_fill, objects)):
        return "cells are only boxed; `nightscope labels fill` proposes their masks"
    return None


def described(item: Object) -> str:
    """A cell in a few words: its class, and its place in pixels."""
    if is_to_fill(item):
        return f"{item.get('label')}: a box to fill" if _is_box(item) else f"{item.get('label')}: a damaged box"
    try:
        masks.check_counts(item["mask"], item["height_px"], item["width_px"])
        x, y, width, height = masks.boxes(coco_masks([item]))[0]
        area = masks.areas(coco_masks([item]))[0]
    except (KeyError, TypeError, ValueError, AttributeError):
        return str(item.get("label"))
    return f"{item.get('label')}: left {x:.0f}, top {y:.0f}, width {width:.0f}, height {height:.0f} px, {area} pixels"


def row_id(annotation_id: str, number: int) -> str:
    """The row id of an annotation's object, counted from 0."""
    return f"{annotation_id}#{number}"


def cleaned(objects: Sequence[Object], frame: Frame) -> list[Object]:
    """Objects that passed; cells that touch the border of their frame are marked `at_border`."""
    boxes = iter(masks.boxes(coco_masks(filled(objects))))
    return [_clean_box(item) if is_to_fill(item) else _clean_mask(item, next(boxes), frame) for item in objects]


def _clean_mask(item: Object, box: Floats, frame: Frame) -> Object:
    x, y, width, height = box
    kept = {name: item[name] for name in ("label", "mask", "height_px", "width_px")}
    cut = x <= 0 or y <= 0 or x + width >= frame.width_px or y + height >= frame.height_px
    return kept | {"at_border": True} if cut else kept


def _clean_box(item: Object) -> Object:
    kept = {name: item[name] for name in ("label", *_SIDES, "to_fill")}
    return kept | {"crowd": True} if is_crowd(item) else kept
