"""Pascal VOC: one XML file per image, named like the image.

Corners are taken as edges in pixels, width = xmax - xmin, as labelImg and its descendants write them. The file's own
name says which image it is: the names inside often survive from another disk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET
from xml.parsers import expat

from tasks.labeling.formats.records import BadFile, ForeignBox, LabelFile


def read(folder: Path) -> Iterator[LabelFile | BadFile]:
    """Every .xml file below a folder, by name."""
    for path in sorted(folder.rglob("*.xml")):
        name = str(path.relative_to(folder))
        try:
            yield _parse(name, path)
        except (OSError, ValueError, ET.ParseError, expat.ExpatError) as error:
            yield BadFile(name, f"is not a Pascal VOC file: {error}", path.stem)


def _parse(name: str, path: Path) -> LabelFile:
    data = path.read_bytes()
    _refuse_entities(data)
    root = ET.fromstring(data)
    if root.tag != "annotation":
        raise ValueError(f"its root is <{root.tag}>, expected <annotation>")
    return LabelFile(
        file=name,
        image=path.stem,
        boxes=tuple(_box(entry) for entry in root.iter("object")),
        width_px=_size(root, "width"),
        height_px=_size(root, "height"),
    )


def _refuse_entities(data: bytes) -> None:
    """A file that defines entities can be made to fill the memory or to name other files; no label file needs one."""

    def refuse(name: str, *_: object) -> None:
        raise ValueError(f"it defines the entity {name!r}, which is not allowed")

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = refuse
    parser.Parse(data, True)


def _box(entry: ET.Element) -> ForeignBox:
    left, top, right, bottom = (_number(entry, f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax"))
    return ForeignBox((entry.findtext("name") or "").strip(), left, top, right - left, bottom - top)


def _number(entry: ET.Element, where: str) -> float:
    text = entry.findtext(where)
    if text is None:
        raise ValueError(f"an <object> has no <{where}>")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"an <object> has {text!r} in <{where}>")
    return value


def _size(root: ET.Element, side: str) -> int | None:
    """0 or nothing = not stated, as many writers leave it."""
    text = root.findtext(f"size/{side}")
    return int(float(text)) or None if text and text.strip() else None
