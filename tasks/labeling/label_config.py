"""A line's classes in a Label Studio labeling config.

A project's config belongs to the lab: questions, headers, styles, hotkeys and the order of things stay as people made
them. Only one control is ours (and those that a kind has beside it), and in it only the labels: a class that the line
gained is added, one that it gave up is greyed and put last while anybody may have used it, because Label Studio cannot
show regions whose label is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree as ET

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import XMLParser

from tasks.config import ClassSpec, Line
from tasks.errors import ConfigError
from tasks.kind import Control, Kind

IMAGE = "image"
"""Name that we give the image tag, and the field of a labeling task's data that holds its address."""
CONTROL = "label"
"""Name that we give the control whose labels are the line's classes."""

_COLORS = ("#1f9d6b", "#c2571a", "#2a6fdb", "#b3317f", "#8a6d00", "#5b4bc4", "#00808a", "#d13438")
_RETIRED = "#9e9e9e"
_SHOWN = ("background", "hotkey")

Shown = Mapping[str, Mapping[str, str]]
"""Class -> the attributes that we gave its label."""


@dataclass(frozen=True)
class Questions:
    """What a project asks its annotators, as far as reading their answers needs it.

    Attributes:
        own: Name of the control whose answers are the line's objects.
        further: Names of those beside it, of kinds that have several.
        others: Names of the lab's own controls.
        classes: The line's classes, and what else its labels are called.
        aliases: What our control writes instead of a label's name -> the label's name.
    """

    own: str = CONTROL
    further: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=dict)


def label_config(line: Line, present: str = "", *, kind: Kind, keep: bool = False, shown: Shown | None = None) -> str:
    """The config that a line's classes imply.

    Args:
        line: The model line.
        present: The project's config as it stands.
        kind: Of the line; names our control.
        keep: Whether labels that only `present` has may be in use, and stay.
        shown: What we gave the labels last. An attribute that is no longer that was changed by the lab, and stays;
            None: not known, and whatever an attribute is, it stays.

    Returns:
        Deterministic XML; `present` itself if it already offers what the line wants.

    Raises:
        ConfigError: `present` cannot be edited.
    """
    root = _parsed(present)
    if root is None:
        root = ET.Element("View")
    names = _names(kind, line)
    if not keep and any(_own_control(root, each, name, line.classes) is None for name, each in names.items()):
        _drop_other_kinds(root, names)
    changed = False
    for name, ours in names.items():
        control = _own_control(root, ours, name, line.classes)
        if control is None:
            control, changed = _new_control(root, ours, name), True
        changed |= _fix(control, ours)
        wanted, given = {**wanted_labels(line), **ours.answers}, shown
        if name != CONTROL:
            wanted, given = _without_hotkeys(wanted), None if shown is None else _without_hotkeys(shown)
        changed |= _settle(control, ours.entry, wanted, keep=keep, shown=given)
    if not changed:
        return present
    if _parsed(present) is None:
        ET.indent(root)
    root.tail = None
    try:
        return ET.tostring(root, encoding="unicode")
    except RecursionError as error:
        raise ConfigError("the labeling config is nested too deeply to be edited") from error


def wanted_labels(line: Line) -> dict[str, dict[str, str]]:
    """Class -> the attributes that its label is given."""
    return {
        name: _attributes(spec, _COLORS[index % len(_COLORS)])
        for index, (name, spec) in enumerate(line.classes.items())
    }


def further_name(control: Control) -> str:
    """The name that we give a control beside the first: distinct, as each has a tag of its own."""
    return f"{CONTROL}_{control.region_type}"


def _names(kind: Kind, line: Line) -> dict[str, Control]:
    """The controls of a line by the names that we give them, the first one first."""
    return {CONTROL: kind.control(line), **{further_name(each): each for each in kind.further_controls}}


def _without_hotkeys(labels: Shown) -> dict[str, Mapping[str, str]]:
    """A hotkey chooses one label: that of the first control."""
    return {name: {key: value for key, value in given.items() if key != "hotkey"} for name, given in labels.items()}


def labels(config: str, kind: Kind, classes: Sequence[str] = ()) -> tuple[str, ...]:
    """The labels that our control in a config offers, in order."""
    root, ours = _parsed(config), kind.labels.CONTROL  # its tags are the same for all lines of a kind
    control = None if root is None else _own_control(root, ours, CONTROL, classes)
    return () if control is None else tuple(e.attrib["value"] for e in _entries(control, ours.entry))


def questions(config: str, line: Line, kind: Kind) -> Questions:
    """What a project's config asks of the annotators of a line."""
    classes = frozenset({*line.classes, *(alias for spec in line.classes.values() for alias in spec.aliases)})
    root, ours = _parsed(config), _names(kind, line)
    if root is None:
        return Questions(classes=classes)
    found = {name: _own_control(root, each, name, line.classes) for name, each in ours.items()}
    first = found.pop(CONTROL)
    if first is None:
        return Questions(classes=classes)
    own = first.get("name") or CONTROL
    further = {each.get("name") or name for name, each in found.items() if each is not None}
    others = {each.attrib["name"] for each in root.iter() if each.get("name") and each.get("toName")}
    entries = [e for name, each in {CONTROL: first, **found}.items() if each is not None
               for e in _entries(each, ours[name].entry)]  # fmt: skip
    aliases = {each.attrib["alias"]: each.attrib["value"] for each in entries if each.get("alias")}
    return Questions(
        own=own,
        further=frozenset(further),
        others=frozenset(others - {own} - further),
        classes=classes,
        aliases=aliases,
    )


def _attributes(spec: ClassSpec, color: str) -> dict[str, str]:
    found = {"background": spec.color or color}
    if spec.hotkey:
        found["hotkey"] = spec.hotkey
    return found


def _parsed(config: str) -> ET.Element | None:
    """A config's root, its comments kept; None if there is none, or it is not XML.

    Raises:
        ConfigError: It declares entities, with which a few bytes can grow without end.
    """
    parser: Any = XMLParser(target=ET.TreeBuilder(insert_comments=True), forbid_dtd=True)
    try:
        parser.feed(config)
        root: ET.Element = parser.close()
    except (ET.ParseError, UnicodeError):
        return None
    except DefusedXmlException as error:
        raise ConfigError(
            "the labeling config has a document type declaration", expected="plain XML", fix="remove <!DOCTYPE ...>"
        ) from error
    return root


def _own_control(
    root: ET.Element, own: Control, name: str, classes: Sequence[str] | Mapping[str, Any]
) -> ET.Element | None:
    """The control that is ours: the one of our name, or, if the lab renamed it, the one that offers our classes."""
    candidates = list(root.iter(own.tag))
    named = [each for each in candidates if each.get("name") == name]
    if named:
        return named[0]
    candidates = [each for each in candidates if not _is_another_kinds(each)]

    def ours(control: ET.Element) -> int:
        return sum(entry.attrib["value"] in classes for entry in _entries(control, own.entry))

    best = max(candidates, key=ours, default=None)
    return best if best is not None and ours(best) else None


def _is_another_kinds(control: ET.Element) -> bool:
    """Whether a control bears a name that we gave it, as one beside the first."""
    return control.get("name") == f"{CONTROL}_{control.tag.lower()}"


def _new_control(root: ET.Element, own: Control, name: str) -> ET.Element:
    """Put our control into a config that has none."""
    taken = {each.get("name") for each in root.iter()}
    image = next((each for each in root.iter() if each.get("value") == f"${IMAGE}" and each.get("name")), None)
    if image is None:
        image = ET.Element("Image", name=_free(IMAGE, taken), value=f"${IMAGE}", zoom="true", zoomControl="true")
        root.insert(0, image)
    attributes = {"name": _free(name, taken), "toName": image.attrib["name"], **own.attributes}
    if own.title:
        root = ET.SubElement(root, "View", {"idAttr": attributes["name"]})
        ET.SubElement(root, "Header", {"value": own.title, "size": "6"})
    return ET.SubElement(root, own.tag, attributes)


def _drop_other_kinds(root: ET.Element, ours: Mapping[str, Control]) -> None:
    """Nobody has answered yet, and the line changed its kind: the controls of the other kind go, with their titles."""
    foreign = {
        each.get("name")
        for each in root.iter()
        if each.get("toName") and (each.get("name") == CONTROL or _is_another_kinds(each))
        if each.get("name") not in ours or each.tag != ours[str(each.get("name"))].tag
    }
    for parent in list(root.iter()):
        for child in list(parent):
            if (child.get("toName") and child.get("name") in foreign) or child.get("idAttr") in foreign:
                parent.remove(child)


def _free(name: str, taken: set[str | None]) -> str:
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def _entries(control: ET.Element, tag: str) -> list[ET.Element]:
    return [entry for entry in control.iter(tag) if entry.get("value")]


def _fix(control: ET.Element, own: Control) -> bool:
    """Set the attributes that answers depend on; whether anything had to be changed."""
    wrong = {name: own.attributes[name] for name in own.fixed if control.get(name) != own.attributes[name]}
    for name, value in wrong.items():
        control.set(name, value)
    return bool(wrong)


def _settle(
    control: ET.Element, tag: str, wanted: Mapping[str, Mapping[str, str]], *, keep: bool, shown: Shown | None
) -> bool:
    """Make our control offer what the line wants; whether anything had to be changed."""
    before = [(entry, dict(entry.attrib)) for entry in _entries(control, tag)]
    present = {entry.attrib["value"]: entry for entry, _ in before}
    for name, attributes in wanted.items():
        if name in present:
            _refresh(present[name], attributes, None if shown is None else shown.get(name))
        else:
            _append(control, ET.Element(tag, {"value": name, **attributes}))
    for name, entry in present.items():
        if name in wanted:
            continue
        if not keep and entry in list(control):
            control.remove(entry)
            continue
        entry.set("background", _RETIRED)
        entry.attrib.pop("hotkey", None)
    _retired_last(control, tag, wanted)
    return [(entry, dict(entry.attrib)) for entry in _entries(control, tag)] != before


def _refresh(entry: ET.Element, wanted: Mapping[str, str], given: Mapping[str, str] | None) -> None:
    """Give a label the attributes of its class, except where the lab changed them."""
    returns = entry.get("background") == _RETIRED
    for name in _SHOWN:
        value = wanted.get(name)
        changed_by_lab = entry.get(name) is not None if given is None else entry.get(name) != given.get(name)
        if changed_by_lab and not returns:
            continue
        if value is not None:
            entry.set(name, value)
        elif given is not None:
            entry.attrib.pop(name, None)


def _append(control: ET.Element, entry: ET.Element) -> None:
    """Add a child, indented like its siblings."""
    siblings = list(control)
    if siblings:
        entry.tail, siblings[-1].tail = siblings[-1].tail, control.text
    control.append(entry)


def _retired_last(control: ET.Element, tag: str, wanted: Mapping[str, Any]) -> None:
    """Labels that the line gave up stand behind its classes; all else keeps its place."""
    own = [each for each in control if each.tag == tag and each.get("value")]
    ordered = sorted(own, key=lambda each: each.attrib["value"] not in wanted)
    if ordered == own:
        return
    places = [index for index, each in enumerate(control) if each.tag == tag and each.get("value")]
    tails = [each.tail for each in own]
    for index, each, tail in zip(places, ordered, tails, strict=True):
        control[index] = each
        each.tail = tail
