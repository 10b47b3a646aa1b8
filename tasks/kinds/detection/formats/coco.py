"""COCO's boxes: `bbox` is [x, y, width, height] in pixels. The files themselves: `tasks.labeling.formats.coco`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.escaping import short_repr
from tasks.kind import BadFile, LabelFile
from tasks.kinds.detection.formats.records import ForeignBox
from tasks.labeling.formats.coco import Entry, is_crowd, read_images
from tasks.labeling.formats.content import number, positive


def read(folder: Path) -> Iterator[LabelFile | BadFile]:
    """Every image of every .json file below a folder, by name."""
    return read_images(folder, _box, "boxes")


def _box(entry: Entry, label: str) -> ForeignBox:
    x, y, width, height = _sides(entry.get("bbox"))
    positive(width, height)
    return ForeignBox(label, x, y, width, height, crowd=is_crowd(entry))


def _sides(bbox: Any) -> list[float]:
    if bbox is None:
        raise ValueError("it has no bbox")
    if not isinstance(bbox, list):
        raise ValueError(f"its bbox is {short_repr(bbox)}, expected [x, y, width, height]")
    if len(bbox) != 4:
        raise ValueError(f"its bbox {short_repr(bbox)} has {len(bbox)} values, expected 4: [x, y, width, height]")
    return [
        number(value, f"{what} of its bbox") for value, what in zip(bbox, ("x", "y", "width", "height"), strict=True)
    ]
