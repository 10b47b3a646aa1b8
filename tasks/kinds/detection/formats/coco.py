"""COCO's boxes: `bbox` is [x, y, width, height] in pixels. The files themselves: `tasks.labeling.formats.coco`.

Where there is an outline or a mask only (`segmentation`), the box is the smallest one around it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.escaping import short_repr
from tasks.kind import BadFile, LabelFile
from tasks.kinds.detection.formats.records import ForeignBox
from tasks.labeling.formats.coco import Entry, is_crowd, read_images
from tasks.labeling.formats.content import number, positive
from tasks.metrics import masks

_MOST_PIXELS = 2**31


def read(folder: Path) -> Iterator[LabelFile | BadFile]:
    """Every image of every .json file below a folder, by name."""
    return read_images(folder, _box, "boxes")


def _box(entry: Entry, label: str) -> ForeignBox:
    bbox, outline, crowd = entry.get("bbox"), entry.get("segmentation"), is_crowd(entry)
    picture_px = None
    if outline and bbox in (None, [], [0, 0, 0, 0]):
        sides, picture_px = _around(outline)
    else:
        sides = _sides(bbox)
    positive(*sides[2:])
    x, y, width, height = sides
    return ForeignBox(label, x, y, width, height, crowd=crowd, picture_px=picture_px)


def _sides(bbox: Any) -> list[float]:
    if bbox is None:
        raise ValueError("it has no bbox, nor a segmentation to take one from")
    if not isinstance(bbox, list):
        raise ValueError(f"its bbox is {short_repr(bbox)}, expected [x, y, width, height]")
    if len(bbox) != 4:
        raise ValueError(f"its bbox {short_repr(bbox)} has {len(bbox)} values, expected 4: [x, y, width, height]")
    return [
        number(value, f"{what} of its bbox") for value, what in zip(bbox, ("x", "y", "width", "height"), strict=True)
    ]


def _around(segmentation: Any) -> tuple[list[float], tuple[int, int] | None]:
    """The box around polygons together, or around run lengths, which know the size of their picture."""
    if isinstance(segmentation, dict):
        return _around_mask(segmentation)
    if not isinstance(segmentation, list):
        raise ValueError(f"it has no bbox, and its segmentation is {short_repr(segmentation)}")
    xs, ys = [], []
    for polygon in segmentation:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            found = short_repr(polygon)
            raise ValueError(
                f"it has no bbox, and a polygon of its segmentation is {found}, expected [x, y, x, y, ...]"
            )
        xs += [number(value, "a place of its polygon") for value in polygon[::2]]
        ys += [number(value, "a place of its polygon") for value in polygon[1::2]]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)], None


def _around_mask(segmentation: dict[str, Any]) -> tuple[list[float], tuple[int, int]]:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    whole = isinstance(size, list) and len(size) == 2 and all(type(each) is int and each > 0 for each in size)
    if not isinstance(size, list) or not whole or size[0] * size[1] > _MOST_PIXELS:
        raise ValueError(f"the size of its run lengths is {short_repr(size)}, expected [height, width] in pixels")
    height_px, width_px = size
    if isinstance(counts, str):
        masks.check_counts(counts, height_px, width_px)
        (box,) = masks.boxes([masks.as_coco(counts, height_px, width_px)])
        return box.tolist(), (width_px, height_px)
    return _around_runs(counts, height_px, width_px), (width_px, height_px)


def _around_runs(counts: Any, height_px: int, width_px: int) -> list[float]:
    """The box of run lengths that are not compressed: of 0 and 1 in turn, down the columns."""
    import numpy as np

    if not isinstance(counts, list) or not all(type(each) is int and 0 <= each <= _MOST_PIXELS for each in counts):
        raise ValueError("its run lengths are neither a text nor a list of whole numbers")
    edges = np.cumsum(np.array([*counts, 0], dtype=np.int64))
    if int(edges[-1]) != height_px * width_px:
        raise ValueError(f"run lengths of {edges[-1]} pixels cannot be a mask of {width_px} x {height_px} pixels")
    last = len(counts) // 2 * 2
    start, end = edges[:last:2], edges[1:last:2]
    start, end = start[end > start], end[end > start]
    if not len(start):
        return [0.0, 0.0, 0.0, 0.0]
    turns = start // height_px != (end - 1) // height_px  # a run that goes on in the next column touches both edges
    top = 0 if turns.any() else int((start % height_px).min())
    bottom = height_px if turns.any() else int(((end - 1) % height_px).max()) + 1
    left, right = int(start.min()) // height_px, int(end.max() - 1) // height_px + 1
    return [float(left), float(top), float(right - left), float(bottom - top)]
