"""A line's classes as a Label Studio labeling config.

One generator per kind of line. A config that annotators' work depends on only ever grows: a class that the line gave up
keeps its label, greyed and last, because Label Studio cannot show regions whose label is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from xml.etree import ElementTree as ET

from tasks.config import ClassSpec, Kind, Line

IMAGE = "image"
"""Name of the image tag, and of the field of a labeling task's data that holds its address."""
CONTROL = "label"
"""Name of the tag whose labels the annotators give."""

_COLORS = ("#1f9d6b", "#c2571a", "#2a6fdb", "#b3317f", "#8a6d00", "#5b4bc4", "#00808a", "#d13438")
_RETIRED = "#9e9e9e"
_SHOWN = ("background", "hotkey")

Builder = Callable[[ET.Element], ET.Element]


def _rectangles(view: ET.Element) -> ET.Element:
    return ET.SubElement(view, "RectangleLabels", name=CONTROL, toName=IMAGE, strokeWidth="2", canRotate="false")


def _polygons(view: ET.Element) -> ET.Element:
    return ET.SubElement(view, "PolygonLabels", name=CONTROL, toName=IMAGE, strokeWidth="2", pointSize="small")


def _choices(view: ET.Element) -> ET.Element:
    return ET.SubElement(view, "Choices", name=CONTROL, toName=IMAGE, choice="single", required="true")


CONTROLS: Mapping[Kind, tuple[Builder, str]] = {
    "detection": (_rectangles, "Label"),
    "segmentation": (_polygons, "Label"),
    "classification": (_choices, "Choice"),
}
"""Kind of line -> how its control is made, and the tag of one class in it."""


def label_config(line: Line, present: str = "", *, keep: bool = False) -> str:
    """The config that a line's classes imply.

    Args:
        line: The model line.
        present: The project's config as it stands.
        keep: Whether labels that only `present` has may be in use, and stay.

    Returns:
        Deterministic XML; `present` itself if it already offers what the line wants, so that what people added to it
        in Label Studio (instructions, layout) stays.
    """
    had = _offered(present)
    wanted = {
        name: _attributes(spec, _COLORS[index % len(_COLORS)])
        for index, (name, spec) in enumerate(line.classes.items())
    }
    if keep:
        wanted |= {name: {"background": _RETIRED} for name in had if name not in wanted}
    if had == wanted and _control_tag(line.kind) in present:
        return present
    return _render(line.kind, wanted)


def labels(config: str) -> tuple[str, ...]:
    """The labels that a config offers, in order."""
    return tuple(_offered(config))


def _attributes(spec: ClassSpec, color: str) -> dict[str, str]:
    found = {"background": spec.color or color}
    if spec.hotkey:
        found["hotkey"] = spec.hotkey
    return found


def _render(kind: Kind, classes: Mapping[str, Mapping[str, str]]) -> str:
    build, tag = CONTROLS[kind]
    view = ET.Element("View")
    ET.SubElement(view, "Image", name=IMAGE, value=f"${IMAGE}", zoom="true", zoomControl="true")
    control = build(view)
    for name, attributes in classes.items():
        ET.SubElement(control, tag, {"value": name, **attributes})
    ET.indent(view)
    return ET.tostring(view, encoding="unicode")


def _control_tag(kind: Kind) -> str:
    build, _ = CONTROLS[kind]
    return f"<{build(ET.Element('View')).tag}"


def _offered(config: str) -> dict[str, dict[str, str]]:
    """Label -> the attributes we care for. A config that is no XML offers nothing."""
    try:
        root = ET.fromstring(config) if config else None
    except ET.ParseError:
        root = None
    if root is None:
        return {}
    found: dict[str, dict[str, str]] = {}
    for entry in root.iter():
        if entry.tag in ("Label", "Choice") and entry.get("value"):
            found[entry.attrib["value"]] = {name: entry.attrib[name] for name in _SHOWN if name in entry.attrib}
    return found
