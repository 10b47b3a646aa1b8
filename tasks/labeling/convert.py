"""Label Studio's regions ⇄ our objects, one converter per kind of line.

Label Studio gives places in percent of the image it showed, and says how large that was. We keep pixels from the top
left corner, rounded to a millionth: enough that percent and back gives the very number that went in.

A rotated rectangle becomes its axis-aligned hull: that is the box which contains what the annotator marked, and our
configs do not offer rotation. A region that cannot be an object of the line (another kind of region, places that are no
numbers, an image of another size than the frame) is a fault for quarantine. Which labels are right is not judged
here: validation does that, and sees them as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tasks.config import Kind
from tasks.labeling.label_config import CONTROL, IMAGE
from tasks.schemas import Box, digest

Object = dict[str, Any]
Region = dict[str, Any]
_DECIMALS = 6

CROWD = "crowd"
"""The note (`meta.text`) on a region in Label Studio that says it is one; see `tasks.schemas.Box`."""


class UnfitRegion(Exception):
    """A region that cannot be an object of the line; the text says why."""


def to_objects(
    kind: Kind, regions: Sequence[Region], width_px: int, height_px: int
) -> tuple[list[Object], list[tuple[Region, str]]]:
    """Regions of one annotation as objects of a line.

    Args:
        kind: Of the line.
        regions: Label Studio's `result`.
        width_px: Of the frame.
        height_px: Of the frame.

    Returns:
        Objects in the annotator's order, and the regions that cannot be one, each with the reason.
    """
    read = _READERS[kind]
    objects: list[Object] = []
    faults = []
    for region in regions:
        try:
            objects += read(region, *_shown_size(region, width_px, height_px))
        except UnfitRegion as fault:
            faults.append((region, str(fault)))
    return objects, faults


def to_regions(kind: Kind, objects: Sequence[Object], width_px: int, height_px: int, mark: str) -> list[Region]:
    """Objects of a line as the regions of one annotation.

    Args:
        mark: Starts every region's id, which Label Studio keeps when people edit: by it an import is recognised.
    """
    write = _WRITERS[kind]
    regions = []
    for index, each in enumerate(objects):
        region: Region = {
            "id": f"{mark}.{index}",
            "from_name": CONTROL,
            "to_name": IMAGE,
            "original_width": width_px,
            "original_height": height_px,
            "image_rotation": 0,
        }
        regions.append(region | write(each, width_px, height_px))
    return regions


def objects_digest(objects: Sequence[Object]) -> str:
    """What a set of objects says, as hex digits; their order counts."""
    return digest([_rounded(each) for each in objects])


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return round(float(value), _DECIMALS) + 0.0 if isinstance(value, int | float) else value


def _shown_size(region: Region, width_px: int, height_px: int) -> tuple[int, int]:
    """The size of the image that the annotator saw: the frame's, or somebody changed the image."""
    shown = (region.get("original_width") or width_px, region.get("original_height") or height_px)
    if (region.get("image_rotation") or 0) % 360:
        raise UnfitRegion(f"was drawn on an image turned by {region['image_rotation']} degrees")
    if shown != (width_px, height_px):
        raise UnfitRegion(f"was drawn on an image of {shown[0]}x{shown[1]} px, the frame has {width_px}x{height_px} px")
    return width_px, height_px


def _value(region: Region, *kinds: str) -> Mapping[str, Any]:
    found = region.get("type")
    value = region.get("value")
    if found not in kinds or not isinstance(value, dict):
        raise UnfitRegion(f"is a region of type {found!r}, expected {kinds[0]!r}")
    return value


def _label(value: Mapping[str, Any], key: str) -> str:
    """The label; '' where none was given. Several on one region stay visible as 'a,b', which no line has as a class."""
    return ",".join(str(each) for each in value.get(key) or ())


def _numbers(value: Mapping[str, Any], *names: str) -> list[float]:
    found = [value.get(name, 0.0 if name == "rotation" else None) for name in names]
    if not all(isinstance(each, int | float) and math.isfinite(each) for each in found):
        raise UnfitRegion(f"has a place that is no number: {dict(zip(names, found, strict=True))}")
    return [float(each) for each in found if each is not None]


def _px(percent: float, size_px: float) -> float:
    return round(percent * size_px / 100, _DECIMALS) + 0.0


def _read_box(region: Region, width_px: int, height_px: int) -> list[Object]:
    value = _value(region, "rectanglelabels", "rectangle")
    x, y, width, height, rotation = _numbers(value, "x", "y", "width", "height", "rotation")
    label = _label(value, "rectanglelabels")
    if rotation % 360:
        left, top, right, bottom = _hull(x, y, width, height, rotation, width_px, height_px)
        sides = (left, top, round(right - left, _DECIMALS), round(bottom - top, _DECIMALS))
    else:
        sides = (_px(x, width_px), _px(y, height_px), _px(width, width_px), _px(height, height_px))
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
    left, top, right, bottom = (round(edge, _DECIMALS) + 0.0 for edge in (min(xs), min(ys), max(xs), max(ys)))
    return left, top, right, bottom


def _box(label: str, x: float, y: float, width: float, height: float, *, crowd: bool) -> Object:
    return Box(label=label, x_px=x, y_px=y, width_px=width, height_px=height, crowd=crowd).as_object()


def _is_crowd(region: Region) -> bool:
    """Whether a region's note in Label Studio is `CROWD`, as an import or an annotator leaves it there."""
    meta = region.get("meta")
    text = meta.get("text") if isinstance(meta, dict) else None
    words = text if isinstance(text, list) else [text]
    return any(isinstance(word, str) and word.strip().lower() == CROWD for word in words)


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


def _read_polygon(region: Region, width_px: int, height_px: int) -> list[Object]:
    value = _value(region, "polygonlabels", "polygon")
    points = value.get("points") or []
    if not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise UnfitRegion("has points that are not pairs of numbers")
    places = [_numbers({"x": x, "y": y}, "x", "y") for x, y in points]
    outline = [[_px(x, width_px), _px(y, height_px)] for x, y in places]
    return [{"label": _label(value, "polygonlabels"), "polygon_px": outline}]


def _write_polygon(polygon: Object, width_px: int, height_px: int) -> Region:
    points = [[x / width_px * 100, y / height_px * 100] for x, y in polygon["polygon_px"]]
    return {"type": "polygonlabels", "value": {"points": points, "polygonlabels": [polygon["label"]], "closed": True}}


def _read_choice(region: Region, width_px: int, height_px: int) -> list[Object]:
    return [{"label": str(each)} for each in _value(region, "choices").get("choices") or ()]


def _write_choice(choice: Object, width_px: int, height_px: int) -> Region:
    return {"type": "choices", "value": {"choices": [choice["label"]]}}


_READERS: Mapping[Kind, Callable[[Region, int, int], list[Object]]] = {
    "detection": _read_box,
    "segmentation": _read_polygon,
    "classification": _read_choice,
}
_WRITERS: Mapping[Kind, Callable[[Object, int, int], Region]] = {
    "detection": _write_box,
    "segmentation": _write_polygon,
    "classification": _write_choice,
}
