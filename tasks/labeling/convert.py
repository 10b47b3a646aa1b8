"""Label Studio's regions ⇄ our objects, one converter per kind of line.

Label Studio gives places in percent of the image it showed, and says how large that was. We keep pixels from the top
left corner, rounded to a millionth: enough that percent and back gives the very number that went in.

A rotated rectangle becomes its axis-aligned hull: that is the box which contains what the annotator marked, and our
configs do not offer rotation. A region that cannot be an object of the line (another kind of region, a turned view,
places that are not numbers, an image of another size than the frame) is a fault, and its annotation is set aside whole:
without it, the frame would seem to show fewer objects than it does. Answers to the lab's own questions, notes and
relations are not ours to judge. Which labels are right is not judged here: validation does that, and sees them as they
are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tasks.config import Kind
from tasks.escaping import marked
from tasks.labeling.label_config import CONTROL, IMAGE, Questions
from tasks.schemas import MAX_OBJECTS, Box, digest

Object = dict[str, Any]
Region = dict[str, Any]
_DECIMALS = 6
_FARTHEST_PERCENT = 1e9
"""A place farther out than ten million pictures was never drawn, and what is computed from it stays a number."""
_ANSWERS = ("choices", "textarea", "rating", "number", "datetime", "taxonomy", "pairwise", "ranker")
"""What answers a question instead of drawing something."""
_MOST_TOLD = 3
_LONGEST_REASON = 600
_LONGEST_LABEL = 200
_OURS = Questions()

CROWD = "crowd"
"""The note (`meta.text`) on a region in Label Studio that says it is one; see `tasks.schemas.Box`."""


class UnfitRegion(Exception):
    """A region that cannot be an object of the line; the text says why."""


def to_objects(
    kind: Kind, regions: Any, width_px: int, height_px: int, asked: Questions = _OURS
) -> tuple[list[Object], list[tuple[Region, str]]]:
    """Regions of one annotation as objects of a line.

    Args:
        kind: Of the line.
        regions: Label Studio's `result`, whatever it holds.
        width_px: Of the frame.
        height_px: Of the frame.
        asked: What the project asks, so that the lab's own questions are told from objects.

    Returns:
        Objects in the annotator's order, and the regions that cannot be one, each with the reason.
    """
    if not isinstance(regions, list):
        return [], [({}, f"is damaged: the annotation is {type(regions).__name__!r} instead of a list of regions")]
    read = _READERS[kind]
    objects: list[Object] = []
    faults: list[tuple[Region, str]] = []
    for region in regions:
        try:
            if not isinstance(region, dict):
                raise UnfitRegion(f"is damaged: {type(region).__name__!r} instead of a region")
            if not is_object(region, asked):
                continue
            made = read(region, *_shown_size(region, width_px, height_px))
        except UnfitRegion as fault:
            faults.append((region if isinstance(region, dict) else {}, str(fault)))
            continue
        except (TypeError, ValueError, ArithmeticError, RecursionError) as error:
            faults.append((region, f"is damaged ({type(error).__name__})"))
            continue
        for each in made:
            each["label"] = asked.aliases.get(each["label"], each["label"])
        objects += made
        if len(objects) > MAX_OBJECTS:
            return [], [({}, f"is one too many: more than {MAX_OBJECTS} objects on one frame are taken for damage")]
    return objects, faults


def unread(faults: Sequence[tuple[Region, str]]) -> str | None:
    """Why an annotation cannot be used whole, in one sentence; None if all of it was read."""
    if not faults:
        return None
    told = [f"a region {reason}{_named(region)}" for region, reason in faults[:_MOST_TOLD]]
    more = f"; and {len(faults) - _MOST_TOLD} more" if len(faults) > _MOST_TOLD else ""
    return marked("; ".join(dict.fromkeys(told)), _LONGEST_REASON) + more


def is_object(region: Region, asked: Questions) -> bool:
    """Whether a region means an object of the line, rather than an answer to another question of the lab.

    Raises:
        UnfitRegion: It means an object, but was drawn with a control that is not the line's.
    """
    kind, name = region.get("type"), region.get("from_name")
    if kind == "relation":
        return False
    if name is None or name == asked.own:
        return True
    if isinstance(name, str) and name in asked.others:
        value = region.get("value")
        given = value.get(kind) if isinstance(value, dict) and isinstance(kind, str) else None
        drawn = isinstance(kind, str) and kind.endswith("labels")
        if drawn and isinstance(given, list) and any(isinstance(one, str) and one in asked.classes for one in given):
            raise UnfitRegion(f"was drawn with the control {name!r}; only {asked.own!r} is for this line's objects")
        return False
    return kind not in _ANSWERS


def _named(region: Region) -> str:
    found = region.get("id")
    return f" (region {marked(found, 40)!r})" if isinstance(found, str) else ""


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
    turned = region.get("image_rotation") or 0
    if not _is_number(turned) or turned % 360:
        raise UnfitRegion(f"was drawn on an image turned by {_brief(turned)} degrees")
    if shown != (width_px, height_px):
        across, down = map(_brief, shown)
        raise UnfitRegion(f"was drawn on an image of {across}x{down} px, the frame has {width_px}x{height_px} px")
    return width_px, height_px


def _value(region: Region, *kinds: str) -> Mapping[str, Any]:
    found = region.get("type")
    value = region.get("value")
    if found not in kinds:
        raise UnfitRegion(f"is of type {_brief(found)}, expected {kinds[0]!r}")
    if not isinstance(value, dict):
        raise UnfitRegion(f"is damaged: of type {kinds[0]!r}, but without a place")
    return value


def _label(value: Mapping[str, Any], key: str) -> str:
    """The label; '' where none was given. Several on one region stay visible as 'a,b', which no line has as a class."""
    given = value.get(key)
    if given is None:
        return ""
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise UnfitRegion(f"has a label that is not text: {_brief(given)}")
    return ",".join(marked(each, _LONGEST_LABEL) for each in given)


def _numbers(value: Mapping[str, Any], *names: str) -> list[float]:
    found = [value.get(name, 0.0 if name == "rotation" else None) for name in names]
    if not all(_is_number(each) for each in found):
        places = ", ".join(f"{name} {_brief(each)}" for name, each in zip(names, found, strict=True))
        raise UnfitRegion(f"has a place that is no number: {places}")
    numbers = [float(each) for each in found if each is not None]
    if any(abs(each) > _FARTHEST_PERCENT for each in numbers):
        raise UnfitRegion(f"has a place far outside of the picture: {', '.join(f'{each:g}' for each in numbers)} %")
    return numbers


def _is_number(value: Any) -> bool:
    """A finite number that fits a float; true and false are none."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _brief(value: Any) -> str:
    """A value as a few readable characters; whatever is nested only by its type, which may be deep or large."""
    if isinstance(value, dict | list | tuple):
        return type(value).__name__
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**12:
        return "a number that is too large"
    return marked(repr(value), 40)


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
    points = value.get("points")
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise UnfitRegion("has points that are not pairs of numbers")
    if len(points) < 3:
        raise UnfitRegion(f"is an outline of {len(points)} points, expected 3 or more")
    places = [_numbers({"x": x, "y": y}, "x", "y") for x, y in points]
    outline = [[_px(x, width_px), _px(y, height_px)] for x, y in places]
    return [{"label": _label(value, "polygonlabels"), "polygon_px": outline}]


def _write_polygon(polygon: Object, width_px: int, height_px: int) -> Region:
    points = [[x / width_px * 100, y / height_px * 100] for x, y in polygon["polygon_px"]]
    return {"type": "polygonlabels", "value": {"points": points, "polygonlabels": [polygon["label"]], "closed": True}}


def _read_choice(region: Region, width_px: int, height_px: int) -> list[Object]:
    value = _value(region, "choices")
    _label(value, "choices")
    return [{"label": marked(each, _LONGEST_LABEL)} for each in value.get("choices") or ()]


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
