"""Boxes in Label Studio: rectangles ⇄ `Box`.

A rotated rectangle becomes its axis-aligned hull: that is the box which contains what the annotator marked, and our
configs do not offer rotation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tasks.kind import Control, Object, Region
from tasks.kinds.detection.boxes import Box
from tasks.labeling.convert import DECIMALS, label_of, numbers_of, to_px, value_of

CONTROL = Control("RectangleLabels", "Label", {"strokeWidth": "2", "canRotate": "false"})

CROWD = "crowd"
"""The note (`meta.text`) on a region in Label Studio that says it is one; see `Box`."""


def read_region(region: Region, width_px: int, height_px: int) -> list[Object]:
    """A rectangle as a box in pixels of the frame."""
    value = value_of(region, "rectanglelabels", "rectangle")
    x, y, width, height, rotation = numbers_of(value, "x", "y", "width", "height", "rotation")
    label = label_of(value, "rectanglelabels")
    if rotation % 360:
        left, top, right, bottom = _hull(x, y, width, height, rotation, width_px, height_px)
        sides = (left, top, round(right - left, DECIMALS), round(bottom - top, DECIMALS))
    else:
        sides = (to_px(x, width_px), to_px(y, height_px), to_px(width, width_px), to_px(height, height_px))
    return [_box(label, *sides, crowd=_is_crowd(region))]


def _hull(
    x: float, y: float, width: float, height: float, rotation: float, width_px: int, height_px: int
) -> tuple[float, float, float, float]:
    """Edges of the hull: Label Studio turns a rectangle clockwise about its top left corner, in pixels."""
    turn = math.radians(rotation)
    across = (width * width_px / 100, 0.0)
    down = (0.0, height * height_px / 100)
    corners = [(0.0, 0.0), across, down, (across[0], down[1])]
    turned = [(u * math.cos(turn) - v * math.sin(turn), u * math.sin(turn) + v * math.cos(turn)) for u, v in corners]
    xs = [x * width_px / 100 + u for u, _ in turned]
    ys = [y * height_px / 100 + v for _, v in turned]
    left, top, right, bottom = (round(edge, DECIMALS) + 0.0 for edge in (min(xs), min(ys), max(xs), max(ys)))
    return left, top, right, bottom


def _box(label: str, x: float, y: float, width: float, height: float, *, crowd: bool) -> Object:
    return Box(label=label, x_px=x, y_px=y, width_px=width, height_px=height, crowd=crowd).as_object()


def _is_crowd(region: Region) -> bool:
    """Whether a region's note in Label Studio is `CROWD`, as an import or an annotator leaves it there."""
    meta = region.get("meta")
    text = meta.get("text") if isinstance(meta, dict) else None
    words = text if isinstance(text, list) else [text]
    return any(isinstance(word, str) and word.strip().lower() == CROWD for word in words)


def write_objects(objects: Sequence[Object], width_px: int, height_px: int) -> list[Region]:
    """Boxes as rectangles, one each, in percent of the frame."""
    return [_write_box(box, width_px, height_px) for box in objects]


def _write_box(box: Object, width_px: int, height_px: int) -> Region:
    value = {
        "x": box["x_px"] / width_px * 100,
        "y": box["y_px"] / height_px * 100,
        "width": box["width_px"] / width_px * 100,
        "height": box["height_px"] / height_px * 100,
        "rotation": 0,
        "rectanglelabels": [box["label"]],
    }
    region: Region = {"type": "rectanglelabels", "value": value}
    return region | {"meta": {"text": [CROWD]}} if box.get("crowd") else region
