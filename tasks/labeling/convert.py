"""Label Studio's regions ⇄ our objects: what all kinds of line share. What a region means, its kind says.

Label Studio gives places in percent of the image it showed, and says how large that was. We keep pixels from the top
left corner, rounded to a millionth: enough that percent and back gives the very number that went in.

A region that cannot be an object of the line (another kind of region, a turned view,
places that are not numbers, an image of another size than the frame) is a fault, and its annotation is set aside whole:
without it, the frame would seem to show fewer objects than it does. Answers to the lab's own questions, notes and
relations are not ours to judge. Which labels are right is not judged here: validation does that, and sees them as they
are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.config import Line
from tasks.escaping import marked
from tasks.kind import Kind, Object, Region, UnfitRegion
from tasks.labeling.label_config import CONTROL, IMAGE, Questions, further_name
from tasks.schemas import MAX_OBJECTS, digest

DECIMALS = 6
"""Of pixels."""
_FARTHEST_PERCENT = 1e9
"""A place farther out than ten million pictures was never drawn, and what is computed from it stays a number."""
_ANSWERS = ("choices", "textarea", "rating", "number", "datetime", "taxonomy", "pairwise", "ranker")
"""What answers a question instead of drawing something."""
_MOST_TOLD = 3
_LONGEST_REASON = 600
LONGEST_LABEL = 200
_OURS = Questions()


def to_objects(
    kind: Kind, regions: Any, width_px: int, height_px: int, asked: Questions = _OURS, *, line: Line | None = None
) -> tuple[list[Object], list[tuple[Region, str]]]:
    """Regions of one annotation as objects of a line.

    Args:
        kind: Of the line.
        regions: Label Studio's `result`, whatever it holds.
        width_px: Of the frame.
        height_px: Of the frame.
        asked: What the project asks, so that the lab's own questions are told from objects.
        line: Whose annotation it is. Without, only what single regions say is read.

    Returns:
        Objects in the annotator's order, and the regions that cannot be one, each with the reason.
    """
    if not isinstance(regions, list):
        return [], [({}, f"is damaged: the annotation is {type(regions).__name__!r} instead of a list of regions")]
    read = kind.labels.read_region
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
    if line is not None and not faults:
        try:
            objects = kind.completed(objects, line)
        except UnfitRegion as fault:
            faults.append(({}, str(fault)))
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
    if name is None or name == asked.own or name in asked.further:
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


def to_regions(
    kind: Kind, objects: Sequence[Object], width_px: int, height_px: int, mark: str, *, line: Line | None = None
) -> list[Region]:
    """Objects of a line as the regions of one annotation.

    Args:
        line: Whose annotation it becomes; without, objects are written one by one as they stand.
        mark: Starts every region's id, which Label Studio keeps when people edit: by it an import is recognised.
    """
    regions = []
    parts = objects if line is None else kind.spelled_out(objects, line)
    names = {each.region_type: further_name(each) for each in kind.further_controls}
    for index, made in enumerate(kind.labels.write_objects(parts, width_px, height_px)):
        region: Region = {
            "id": f"{mark}.{index}",
            "from_name": names.get(made["type"], CONTROL),
            "to_name": IMAGE,
            "original_width": width_px,
            "original_height": height_px,
            "image_rotation": 0,
        }
        regions.append(region | made)
    return regions


def objects_digest(objects: Sequence[Object]) -> str:
    """What a set of objects says, as hex digits; their order counts."""
    return digest([_rounded(each) for each in objects])


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return round(float(value), DECIMALS) + 0.0 if isinstance(value, int | float) else value


def _shown_size(region: Region, width_px: int, height_px: int) -> tuple[int, int]:
    """The size of the image that the annotator saw: the frame's, or somebody changed the image."""
    shown = (region.get("original_width") or width_px, region.get("original_height") or height_px)
    turned = region.get("image_rotation") or 0
    if not is_number(turned) or turned % 360:
        raise UnfitRegion(f"was drawn on an image turned by {_brief(turned)} degrees")
    if shown != (width_px, height_px):
        across, down = map(_brief, shown)
        raise UnfitRegion(f"was drawn on an image of {across}x{down} px, the frame has {width_px}x{height_px} px")
    return width_px, height_px


def value_of(region: Region, *kinds: str) -> Mapping[str, Any]:
    """A region's `value`, if it is of one of these types.

    Raises:
        UnfitRegion: It is of another, or damaged.
    """
    found = region.get("type")
    value = region.get("value")
    if found not in kinds:
        raise UnfitRegion(f"is of type {_brief(found)}, expected {kinds[0]!r}")
    if not isinstance(value, dict):
        raise UnfitRegion(f"is damaged: of type {kinds[0]!r}, but without a place")
    return value


def label_of(value: Mapping[str, Any], key: str) -> str:
    """The label; '' where none was given. Several on one region stay visible as 'a,b', which no line has as a class."""
    given = value.get(key)
    if given is None:
        return ""
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise UnfitRegion(f"has a label that is not text: {_brief(given)}")
    return ",".join(marked(each, LONGEST_LABEL) for each in given)


def numbers_of(value: Mapping[str, Any], *names: str) -> list[float]:
    """Places in percent of the frame, by name; `rotation` is 0 where it is not stated.

    Raises:
        UnfitRegion: One is not a number, or lies far outside of the picture.
    """
    found = [value.get(name, 0.0 if name == "rotation" else None) for name in names]
    if not all(is_number(each) for each in found):
        places = ", ".join(f"{name} {_brief(each)}" for name, each in zip(names, found, strict=True))
        raise UnfitRegion(f"has a place that is no number: {places}")
    numbers = [float(each) for each in found if each is not None]
    if any(abs(each) > _FARTHEST_PERCENT for each in numbers):
        raise UnfitRegion(f"has a place far outside of the picture: {', '.join(f'{each:g}' for each in numbers)} %")
    return numbers


def is_number(value: Any) -> bool:
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


def to_px(percent: float, size_px: float) -> float:
    """Percent of a side as pixels, rounded to a millionth."""
    return round(percent * size_px / 100, DECIMALS) + 0.0
