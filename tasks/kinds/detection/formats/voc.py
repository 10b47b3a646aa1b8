"""Pascal VOC: one XML file per image, named like the image.

Corners are taken as edges in pixels, width = xmax - xmin, as labelImg and its descendants write them. The file's own
name says which image it is: the names inside often survive from another disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

import defusedxml
from defusedxml import ElementTree

from tasks.kind import BadFile, LabelFile
from tasks.kinds.detection.formats.records import ForeignBox
from tasks.labeling.formats.content import (
    MAX_TEXT_BYTES,
    few_enough,
    number,
    positive,
    read_bytes,
    shown_path,
    side,
    text_of,
)

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


def read(folder: Path) -> Iterator[LabelFile | BadFile]:
    """Every .xml file below a folder, by name."""
    for path in sorted(folder.rglob("*.xml")):
        name = shown_path(path, folder)
        try:
            yield _parse(name, path)
        except (OSError, ValueError, LookupError, ParseError, RecursionError, MemoryError) as error:
            yield BadFile(name, f"is not a Pascal VOC file: {error}", path.stem)


def _parse(name: str, path: Path) -> LabelFile:
    root = _root(read_bytes(path, MAX_TEXT_BYTES))
    if root.tag != "annotation":
        raise ValueError(f"its root is <{root.tag}>, expected <annotation>")
    objects = list(root.iter("object"))
    few_enough(len(objects))
    return LabelFile(
        file=name,
        image=path.stem,
        objects=tuple(_box(n, entry) for n, entry in enumerate(objects, 1)),
        width_px=side(root.findtext("size/width"), "<size/width>"),
        height_px=side(root.findtext("size/height"), "<size/height>"),
    )


def _root(data: bytes) -> Element:
    """The root element. Text whose encoding its first bytes show is decoded here: what its head says is often wrong.

    A file that defines entities can be made to fill the memory or to name other files; no label file needs one.
    """
    content: str | bytes
    try:
        content = text_of(data)
    except ValueError:  # perhaps one of the old encodings, which then stands in its head
        content = data
    try:
        root: Element = ElementTree.fromstring(content)
    except defusedxml.EntitiesForbidden as error:
        raise ValueError(f"it defines the entity {error.name!r}, which is not allowed") from error
    except defusedxml.DefusedXmlException as error:
        raise ValueError(f"it refers to other files, which is not allowed ({error})") from error
    return root


def _box(n: int, entry: Element) -> ForeignBox:
    try:
        left, top, right, bottom = (_edge(entry, edge) for edge in ("xmin", "ymin", "xmax", "ymax"))
        positive(right - left, bottom - top)
    except ValueError as error:
        raise ValueError(f"<object> no. {n}: {error}") from error
    return ForeignBox((entry.findtext("name") or "").strip(), left, top, right - left, bottom - top)


def _edge(entry: Element, edge: str) -> float:
    text = entry.findtext(f"bndbox/{edge}")
    if text is None:
        raise ValueError(f"it has no <bndbox/{edge}>")
    return number(text, f"<{edge}>")
