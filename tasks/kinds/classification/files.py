"""Labels of whole pictures: class folders, and tables. Which frame a label is about, is found out elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tasks.config import Line
from tasks.kind import BadFile, LabelFile, Object
from tasks.kinds.classification.formats import folders, tables
from tasks.schemas import Frame

FOR_LINE = True
FORMATS: Mapping[str, Callable[[Path, Line], Iterator[LabelFile | BadFile]]] = {
    "folders": folders.read,
    "csv": tables.read,
}


def classes_in(labels: LabelFile) -> set[str]:
    """The classes that it judges, in the file's words."""
    return {each.label for each in labels.objects}


def place(labels: LabelFile, frame: Frame, line: Line) -> list[Object]:
    """What a file says of its picture, in the order of the line's classes."""
    said = {line.class_named(each.label) or each.label: each.present for each in labels.objects}
    names = [name for name in (*line.classes, *said) if name in said]
    if not line.multi_label:
        return [{"label": name} for name in dict.fromkeys(names)]
    return [{"label": name, "present": said[name]} for name in dict.fromkeys(names)]
