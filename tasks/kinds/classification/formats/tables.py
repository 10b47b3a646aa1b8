"""A table of pictures: a column that names the file, and either one column a class or one that holds the class.

    file,acrosome,head,vacuole        file;label                 (also tabs, and `|`)
    s/001.png,1,0,                    normal/1.bmp;normal

A column a class has 1 or 0, yes or no, true or false. An empty cell is a missing value: nobody judged that class. In a
line with one class a picture exactly one column has a 1. The column `label` of a multi-label line holds several classes
with `|` or `;` between them, or `none`; the classes that it does not name are not there.
"""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.config import Line
from tasks.escaping import marked, short_repr, visible_name
from tasks.ingest.stills.grouping import FILE_COLUMNS
from tasks.kind import BadFile, LabelFile
from tasks.kinds.classification.formats.records import Judged, is_picture, oid_of
from tasks.kinds.classification.labels import NONE
from tasks.labeling.formats.content import LONGEST, read_text, shown_path
from tasks.labeling.formats.image_names import stem_of
from tasks.schemas import Oid

log = logging.getLogger(__name__)

LABEL_COLUMNS = ("label", "labels", "class", "classes", "category", "target")
"""Columns that may hold the class, ignoring case."""
_SUFFIXES = (".csv", ".tsv")
_DELIMITERS = ",;\t|"
_YES = {"1", "yes", "y", "true", "t", "x", "+", "present", "positive"}
_NO = {"0", "no", "n", "false", "f", "absent", "negative"}
_MISSING = {"", "nan", "na", "n/a", "null", "?", "-", "missing", "unknown"}
_NOBODY = {"none", NONE}


def read(place: Path, line: Line) -> Iterator[LabelFile | BadFile]:
    """Every row of every .csv and .tsv below a folder, or of one such file."""
    paths = [place] if place.is_file() else sorted(each for each in place.rglob("*") if each.is_file())
    for path in paths:
        if path.suffix.lower() in _SUFFIXES or path == place:
            folder = path.parent if place.is_file() else place
            name = shown_path(path, folder)
            try:
                table = _Table.read(name, path, line)
            except (OSError, ValueError, csv.Error) as error:
                yield BadFile(name, f"is not a table of labels: {error}")
                continue
            yield from table.rows_of(line, (path.parent, folder))


@dataclass(frozen=True)
class _Table:
    """A table whose head is understood.

    Attributes:
        name: As the user knows it.
        rows: Line number in the file, and cells.
        header: Titles of the columns.
        file_column: Where the file's name stands.
        label_column: Where the class stands; None: there is a column for each.
        class_columns: Class -> its column.
    """

    name: str
    rows: Sequence[tuple[int, list[str]]]
    header: Sequence[str]
    file_column: int
    label_column: int | None
    class_columns: Mapping[str, int]

    @classmethod
    def read(cls, name: str, path: Path, line: Line) -> _Table:
        """Raises ValueError where the head is not that of a table of labels."""
        text = read_text(path)
        first = next((each for each in text.splitlines() if each.strip()), "")
        reader = csv.reader(io.StringIO(text), delimiter=max(_DELIMITERS, key=first.count))
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
        if not rows:
            raise ValueError("it is empty")
        header, rows = rows[0][1], rows[1:]
        file_column = _column_of(header, FILE_COLUMNS)
        if file_column is None:
            titles = ", ".join(FILE_COLUMNS[:4])
            raise ValueError(f"no column names the pictures; expected one titled {titles}, ..., found {_some(header)}")
        classes = _class_columns(header, file_column, line)
        label = _column_of(header, LABEL_COLUMNS)
        if not classes and label is None:
            wanted = ", ".join(line.classes)
            raise ValueError(f"expected a column 'label', or columns named {wanted}; found {_some(header)}")
        use_label = label is not None and (not classes or not line.multi_label)
        own = {file_column, *classes.values(), *([label] if label is not None else [])}
        if others := [title for number, title in enumerate(header) if number not in own]:
            log.warning("%s: passed over the columns %s", visible_name(name), visible_name(_some(others)))
        if not use_label and (absent := [each for each in line.classes if each not in classes]):
            log.warning("%s: has no column for %s", visible_name(name), ", ".join(absent))
        return cls(name, rows, header, file_column, label if use_label else None, {} if use_label else classes)

    def rows_of(self, line: Line, places: Sequence[Path]) -> Iterator[LabelFile | BadFile]:
        """Each row's labels, or what is wrong with it, under the file's name and line."""
        for number, cells in self.rows:
            said = cells[self.file_column] if self.file_column < len(cells) else ""
            image = stem_of(said) if said else None
            file = f"{self.name} line {number}" + (f": {marked(said, LONGEST)}" if said else "")
            try:
                if len(cells) != len(self.header):
                    raise ValueError(f"has {len(cells)} cells, the head has {len(self.header)}")
                if image is None:
                    raise ValueError("names no picture")
                objects = self._judged(cells, line)
                yield LabelFile(file=file, image=image, objects=objects, picture_oid=_oid_beside(said, places))
            except (OSError, ValueError) as error:
                yield BadFile(file, str(error), image)

    def _judged(self, cells: Sequence[str], line: Line) -> tuple[Judged, ...]:
        """What a row says of the classes.

        Raises:
            ValueError: A cell is neither yes nor no, or the row says nothing.
        """
        if self.label_column is not None:
            return _from_label(cells[self.label_column], line)
        said = {name: _answer(cells[column], self.header[column]) for name, column in self.class_columns.items()}
        shown = [name for name, answer in said.items() if answer]
        if line.multi_label:
            found = tuple(Judged(name, answer) for name, answer in said.items() if answer is not None)
            if not found:
                raise ValueError("has a value for no class; nothing is labelled")
            return found
        if len(shown) != 1:
            raise ValueError(f"has {len(shown)} classes with a 1{_named(shown)}, expected one")
        return (Judged(shown[0]),)


def _class_columns(header: Sequence[str], file_column: int, line: Line) -> dict[str, int]:
    found: dict[str, int] = {}
    for number, title in enumerate(header):
        name = line.class_named(title) if number != file_column else None
        if name is not None and name in found:
            raise ValueError(f"the columns {header[found[name]]!r} and {title!r} are both of the class {name!r}")
        if name is not None:
            found[name] = number
    return found


def _from_label(cell: str, line: Line) -> tuple[Judged, ...]:
    if cell.casefold() in _MISSING:
        raise ValueError("has no label")
    if not line.multi_label:
        return (Judged(cell),)
    names = [] if cell.casefold() in _NOBODY else [each.strip() for each in re.split(r"[|;]", cell) if each.strip()]
    shown = {line.class_named(each) or each for each in names}
    absent = tuple(Judged(name, present=False) for name in line.classes if name not in shown)
    return (*(Judged(each) for each in sorted(shown)), *absent)


def _answer(cell: str, title: str) -> bool | None:
    """Yes, no, or None for a missing value.

    Raises:
        ValueError: It is none of them.
    """
    text = re.sub(r"(?<=[01])\.0+$", "", cell.casefold())  # whole numbers of a column with gaps, as pandas writes them
    if text in _MISSING:
        return None
    if text in _YES or text in _NO:
        return text in _YES
    raise ValueError(f"has {short_repr(cell)} in the column {short_repr(title)}, expected 1, 0, or nothing")


def _column_of(header: Sequence[str], titles: Sequence[str]) -> int | None:
    """The column with the best of some titles."""
    places = {title.casefold(): number for number, title in reversed(list(enumerate(header)))}
    return next((places[title] for title in titles if title in places), None)


def _oid_beside(said: str, places: Sequence[Path]) -> Oid | None:
    """The sha256 of the picture that a row names, where it lies beside the table or below the folder."""
    name = said.replace("\\", "/")
    if not is_picture(name.removeprefix("./")):
        return None
    for place in places:
        path = (place / name).resolve()
        if path.is_relative_to(place.resolve()) and path.is_file():
            return oid_of(path)
    return None


def _some(titles: Sequence[str], limit: int = 8) -> str:
    more = f" and {len(titles) - limit} more" if len(titles) > limit else ""
    return ", ".join(short_repr(each) for each in titles[:limit]) + more


def _named(names: Sequence[str]) -> str:
    return f" ({', '.join(names)})" if names else ""
