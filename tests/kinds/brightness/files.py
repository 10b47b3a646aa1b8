"""A CSV file with the columns `image` and `label`."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from tasks.config import Line
from tasks.kind import BadFile, LabelFile, Object
from tasks.labeling.formats.content import read_text
from tasks.labeling.formats.image_names import stem_of
from tasks.schemas import Frame


def read(folder: Path) -> Iterator[LabelFile | BadFile]:
    """Every row of every .csv below a folder."""
    for path in sorted(folder.rglob("*.csv")):
        try:
            rows = list(csv.DictReader(read_text(path).splitlines()))
        except (OSError, ValueError) as error:
            yield BadFile(path.name, f"is not a table of labels: {error}")
            continue
        for number, row in enumerate(rows, 1):
            name = f"{path.name} row {number}"
            if not row.get("image") or not row.get("label"):
                yield BadFile(name, "has no image or no label")
            else:
                yield LabelFile(file=name, image=stem_of(row["image"]), objects=(row["label"],))


FORMATS = {"csv": read}


def classes_in(labels: LabelFile) -> set[str]:
    """The class of the row."""
    return set(labels.objects)


def place(labels: LabelFile, frame: Frame, line: Line) -> list[Object]:
    """The row's class, as the line calls it."""
    return [{"label": line.class_named(name) or name} for name in labels.objects]
