"""Which stills belong together: their donor, their slide, or whatever a split must not tear apart.

    folder              the name of the folder that holds the picture
    csv:COLUMN          a column of the CSV within or beside the pictures; csv:FILE:COLUMN names the CSV, too
    anything else       a regular expression, searched in the picture's relative path: its group `group`, else its first

The group is kept as the still's donor, as it stands: the same value in another addition is the same group. A picture
without a value (an empty cell, a part of the pattern that matched nothing) is a group of its own.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.errors import ConfigError
from tasks.escaping import short_repr
from tasks.ingest.names import split_suffix
from tasks.ingest.stills.sources import Source

FOLDER, _CSV = "folder", "csv:"
FILE_COLUMNS = (
    "file", "filename", "file_name", "file name", "filepath", "file_path", "path", "image", "image_name", "image name",
    "image_file", "image_path", "picture", "name", "img", "image_id", "id",
)  # fmt: skip
"""Columns that may hold file names, ignoring case."""
_SHOWN = 5
_PATTERN_LENGTH = 500


@dataclass(frozen=True)
class Groups:
    """Groups of pictures.

    Attributes:
        of: Picture → its group; None: its own.
        absent: File names of the CSV that are no picture here.
    """

    of: Mapping[str, str | None]
    absent: tuple[str, ...] = ()


def groups_of(source: Source, group_by: str) -> Groups:
    """The group of each picture of a source.

    Raises:
        ConfigError: The rule is none, or leaves a picture without an answer; names some of them.
    """
    if group_by == FOLDER:
        return Groups({path: path.rpartition("/")[0].rpartition("/")[2] or source.name for path in source.pictures})
    if group_by.startswith(_CSV):
        return _by_table(source, group_by.removeprefix(_CSV))
    return Groups(_by_pattern(source, group_by))


def _by_pattern(source: Source, pattern: str) -> dict[str, str | None]:
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError) as error:
        raise ConfigError(
            f"--group-by {pattern!r}: is no regular expression ({error})",
            expected="folder, csv:COLUMN, or a regular expression such as '(?P<group>[^/]+)_\\d+'",
        ) from error
    if not compiled.groups or len(pattern) > _PATTERN_LENGTH:
        raise ConfigError(
            f"--group-by {pattern!r}",
            expected="one pair of parentheses around what names the group, e.g. '(D\\d+)_'; or folder, or csv:COLUMN",
        )
    chosen: str | int = "group" if "group" in compiled.groupindex else 1
    found = {path: compiled.search(path) for path in source.pictures}
    lost = [path for path, match in found.items() if match is None]
    if lost:
        raise ConfigError(
            f"--group-by {pattern!r}: does not match {len(lost)} of {len(found)} pictures, e.g. {_some(lost)}",
            expected="a pattern that matches each picture's relative path",
            fix="mend it; a part that may be missing, '(?:(D\\d+)_)?', makes such a picture a group of its own",
        )
    return {path: (match[chosen] or "").strip() or None for path, match in found.items() if match}


def _by_table(source: Source, named: str) -> Groups:
    file, _, column = named.rpartition(":")
    if not column:
        raise ConfigError(f"--group-by csv:{named}", expected="csv:COLUMN or csv:FILE:COLUMN")
    path, header, rows = _table(source, file, column)
    places = _Places(source.pictures)
    name_column = _name_column(path, header, rows, column, places)
    values: dict[str, str | None] = {}
    absent, torn = [], []
    for row in rows:
        said, value = row[name_column], row[header.index(column)].strip() or None
        picture = places.find(said, path)
        if picture is None:
            absent.append(said)
        elif values.setdefault(picture, value) != value:
            torn.append(f"{picture} ({values[picture]}, {value})")
    if torn:
        raise ConfigError(f"{path}: a file stands twice, in different groups: {_some(torn)}")
    lost = [picture for picture in source.pictures if picture not in values]
    if lost:
        raise ConfigError(
            f"{path}: has no row for {len(lost)} of {len(source.pictures)} pictures, e.g. {_some(lost)}",
            expected=f"each picture's name in the column {header[name_column]!r}",
            found=f"{len(rows)} rows, {len(absent)} of files that are not here",
            fix="add the rows; an empty group makes a picture a group of its own",
        )
    return Groups(values, tuple(absent))


def _table(source: Source, file: str, column: str) -> tuple[str, list[str], list[list[str]]]:
    """The CSV's path, header and rows."""
    if file:
        paths: Sequence[str] = [each for each in source.tables if each == file or each.endswith(f"/{file}")][:1] or [
            file
        ]
    else:
        paths = source.tables
    read, unreadable = [], []
    for path in paths:
        try:
            read.append((path, *_rows(source, path)))
        except ConfigError as error:  # of several, another may be meant
            unreadable.append(error)
    fitting = [each for each in read if column in each[1]]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ConfigError(
            f"--group-by csv:{column}: several CSV files have this column: {_some([each[0] for each in fitting])}",
            fix="name one: csv:FILE:COLUMN",
        )
    if unreadable:
        raise unreadable[0]
    if not read:
        raise ConfigError(
            f"--group-by csv:{column}: there is no CSV within or beside {source.name!r}", fix="csv:FILE:COLUMN"
        )
    columns = "; ".join(f"{path}: {', '.join(header)}" for path, header, _ in read[:_SHOWN])
    raise ConfigError(f"--group-by csv: no column {column!r}", expected="one of the CSV's columns", found=columns)


def _rows(source: Source, path: str) -> tuple[list[str], list[list[str]]]:
    data = source.table(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not in UTF-8 ({error})", fix="save it as CSV UTF-8") from error
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        header, *rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(row)] or [[]]
    except csv.Error as error:
        raise ConfigError(f"{path}: is no CSV ({error})") from error
    short = [number for number, row in enumerate(rows, 2) if len(row) != len(header)]
    if short:
        raise ConfigError(f"{path}: row {short[0]} has not {len(header)} cells, as the header has")
    return [cell.strip() for cell in header], rows


def _name_column(path: str, header: Sequence[str], rows: Sequence[Sequence[str]], column: str, places: _Places) -> int:
    """The column that holds file names: of those that may, by their titles, the one that fits most pictures."""
    may = [number for number, title in enumerate(header) if title.casefold() in FILE_COLUMNS and title != column]
    fits = {number: sum(places.knows(row[number]) for row in rows) for number in may}
    best = max(may, key=lambda number: (fits[number], -number), default=None)
    if best is None or not fits[best]:
        raise ConfigError(
            f"{path}: no column names the pictures",
            expected=f"a column titled {', '.join(FILE_COLUMNS[:4])}, ... with their names or relative paths",
            found=", ".join(header),
        )
    return best


class _Places:
    """Finds pictures by their path, by its last parts, with or without the suffix."""

    def __init__(self, pictures: Iterable[str]) -> None:
        self._by_end: dict[str, set[str]] = defaultdict(set)
        self._whole: dict[str, str] = {}
        for picture in pictures:
            path = unicodedata.normalize("NFC", picture)
            for spelling in (path, split_suffix(path)[0]):
                self._whole.setdefault(spelling, picture)
                parts = spelling.split("/")
                for start in range(len(parts)):
                    self._by_end["/".join(parts[start:])].add(picture)

    def knows(self, said: str) -> bool:
        """Whether a name means any picture."""
        return bool(self._candidates(said))

    def find(self, said: str, path: str) -> str | None:
        """The picture that a name means; None where there is none.

        Raises:
            ConfigError: It may mean several.
        """
        found = self._candidates(said)
        if len(found) > 1:
            raise ConfigError(
                f"{path}: {short_repr(said)} may mean several pictures: {_some(sorted(found))}",
                fix="write the path relative to the folder",
            )
        return next(iter(found), None)

    def _candidates(self, said: str) -> set[str]:
        name = unicodedata.normalize("NFC", said.strip().replace("\\", "/")).removeprefix("./").strip("/")
        if not name:
            return set()
        if name in self._whole:
            return {self._whole[name]}
        if name in self._by_end:
            return self._by_end[name]
        parts = name.split("/")  # the CSV may be of a folder further up
        for start in range(1, len(parts)):
            whole = self._whole.get("/".join(parts[start:]))
            if whole is not None and "/" in whole:
                return {whole}
        return set()


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(short_repr(name) for name in names[:_SHOWN]) + more
