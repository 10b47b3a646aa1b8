"""Cells in Label Studio: painted with a brush, outlined, or boxed for a model to fill ⇄ objects.

Each control has all classes. Cells come back as brush strokes, whatever they were drawn with: a stroke is exact to the
pixel. A polygon covers the pixels whose centres lie inside of it (`outlines.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.kind import Control, Object, Region, UnfitRegion
from tasks.kinds.segmentation import brush, outlines
from tasks.kinds.segmentation.objects import is_crowd, is_to_fill
from tasks.kinds.segmentation.runs import Crop, text_of_crop
from tasks.labeling.convert import label_of, numbers_of, to_px, value_of

CONTROL = Control("BrushLabels", "Label", {}, title="Paint cells with the brush")
FURTHER_CONTROLS = (
    Control("PolygonLabels", "Label", {"strokeWidth": "2"}, title="Or outline them, point by point"),
    Control(
        "RectangleLabels",
        "Label",
        {"strokeWidth": "2", "canRotate": "false"},
        title="Or box them for the model to fill",
    ),
)

CROWD = "crowd"
"""The note (`meta.text`) on a box that says it holds cells that nobody can tell apart."""


def read_region(region: Region, width_px: int, height_px: int) -> list[Object]:
    """A stroke or a polygon as a mask, a rectangle as a box to fill."""
    read = {"brushlabels": _stroke, "polygonlabels": _polygon, "rectanglelabels": _rectangle}.get(
        str(region.get("type"))
    )
    if read is None:
        value_of(region, "brushlabels", "polygonlabels", "rectanglelabels")
        raise UnfitRegion("is neither a brush stroke, a polygon nor a rectangle")
    return [read(region, width_px, height_px)]


def _stroke(region: Region, width_px: int, height_px: int) -> Object:
    value = value_of(region, "brushlabels")
    label = label_of(value, "brushlabels")
    if value.get("format") != "rle":
        raise UnfitRegion("is a brush stroke that is not stored as run lengths")
    try:
        crop = brush.decode(value.get("rle"), width_px, height_px)
    except ValueError as error:
        raise UnfitRegion(f"is a brush stroke that {error}") from error
    if not crop.pixels.any():
        raise UnfitRegion("is a brush stroke that covers no pixel; delete it")
    return of_crop(label, crop, width_px, height_px)


def _polygon(region: Region, width_px: int, height_px: int) -> Object:
    value = value_of(region, "polygonlabels")
    label, given = label_of(value, "polygonlabels"), value.get("points")
    if not isinstance(given, list) or not all(isinstance(each, list) and len(each) == 2 for each in given):
        raise UnfitRegion("is a polygon without points")
    if value.get("closed") is False:
        raise UnfitRegion("is a polygon that is not closed; click its first point")
    if not 3 <= len(given) <= outlines.MAX_POINTS:
        raise UnfitRegion(f"is a polygon of {len(given)} points, expected 3 to {outlines.MAX_POINTS}")
    percent = [numbers_of({"x": x, "y": y}, "x", "y") for x, y in given]
    points = np.array([(to_px(x, width_px), to_px(y, height_px)) for x, y in percent])
    crop = outlines.filled(points, width_px, height_px)
    if not crop.pixels.any():
        raise UnfitRegion("is a polygon that covers the centre of no pixel of the picture")
    made = of_crop(label, crop, width_px, height_px)
    return made | {"crosses_itself": True} if outlines.crosses_itself(points) else made


def _rectangle(region: Region, width_px: int, height_px: int) -> Object:
    value = value_of(region, "rectanglelabels")
    x, y, width, height, rotation = numbers_of(value, "x", "y", "width", "height", "rotation")
    if rotation % 360:
        raise UnfitRegion(f"is a box turned by {rotation:g} degrees; draw it upright, around the whole cell")
    if width <= 0 or height <= 0:
        raise UnfitRegion("is a box without an area; delete it")
    if x >= 100 or y >= 100 or x + width <= 0 or y + height <= 0:
        raise UnfitRegion("is a box that lies outside of the picture; delete it")
    sides = to_px(x, width_px), to_px(y, height_px), to_px(width, width_px), to_px(height, height_px)
    made = to_fill(label_of(value, "rectanglelabels"), *sides)
    return made | {"crowd": True} if _is_crowd(region) else made


def of_crop(label: str, crop: Crop, width_px: int, height_px: int) -> Object:
    """The object of a mask that is known where it lies in its picture."""
    return of_text(label, text_of_crop(crop, height_px, width_px), width_px, height_px)


def of_text(label: str, counts: str, width_px: int, height_px: int) -> Object:
    """The object of a mask given as COCO's text of the whole picture."""
    return {"label": label, "mask": counts, "height_px": height_px, "width_px": width_px}


def to_fill(label: str, x_px: float, y_px: float, box_width_px: float, box_height_px: float) -> Object:
    """The object of a box that a model is to fill."""
    box = {"x_px": x_px, "y_px": y_px, "width_px": box_width_px, "height_px": box_height_px}
    return {"label": label, **box, "to_fill": True}


def _is_crowd(region: Region) -> bool:
    """Whether a region's note is `CROWD`, as an import or an annotator leaves it there."""
    meta = region.get("meta")
    text = meta.get("text") if isinstance(meta, dict) else None
    words = text if isinstance(text, list) else [text]
    return any(isinstance(word, str) and word.strip().lower() == CROWD for word in words)


def write_objects(objects: Sequence[Object], width_px: int, height_px: int) -> list[Region]:
    """Masks as brush strokes, boxes to fill as rectangles."""
    return [_box_region(o, width_px, height_px) if is_to_fill(o) else _stroke_region(o) for o in objects]


def _stroke_region(item: Object) -> Region:
    rle = brush.encode(item["mask"], item["width_px"], item["height_px"])
    return {"type": "brushlabels", "value": {"format": "rle", "rle": rle, "brushlabels": [item["label"]]}}


def _box_region(item: Object, width_px: int, height_px: int) -> Region:
    value = {
        "x": item["x_px"] / width_px * 100,
        "y": item["y_px"] / height_px * 100,
        "width": item["width_px"] / width_px * 100,
        "height": item["height_px"] / height_px * 100,
        "rotation": 0,
        "rectanglelabels": [item["label"]],
    }
    region: Region = {"type": "rectanglelabels", "value": value}
    return region | {"meta": {"text": [CROWD]}} if is_crowd(item) else region
