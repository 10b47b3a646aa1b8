"""YOLO: one .txt per image with `class x-centre y-centre width height` a line, as fractions of the image.

What longer lines are does not stand in them: outlines (`class x y x y x y ...`), poses (a box, then key points) and
what `yolo track` writes (a box, its score, its number) have the same counts of values. `data.yaml` says it: with
`kpt_shape` they are poses, and the box is taken; without, they are outlines, whose hull is the box. Where there is no
data.yaml, or a line fits neither, the file is refused, with the line.

Class names come from classes.txt, obj.names, another .names file or data.yaml: the nearest one, from the label file's
own folder up to the one above the folder that was given; else the one that lies elsewhere below that. `kpt_shape`
comes from the nearest data.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError
from tasks.escaping import marked, short_repr
from tasks.kind import BadFile, LabelFile
from tasks.kinds.detection.formats.records import ForeignBox
from tasks.labeling.formats.content import (
    LONGEST,
    few_enough,
    number,
    positive,
    read_text,
    read_yaml,
    shown_path,
)

_LISTS = ("classes.txt", "obj.names", "*.names")
_YAMLS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_NOT_LABELS = {"classes.txt", "train.txt", "val.txt", "valid.txt", "test.txt", "readme.txt", "license.txt"}
_TOLERANCE = 1e-6  # of the image's side: centres are rounded when written
_OUTSIDE = 0.05  # of the image's side: an outline may stick out a little, a track's number is no place
_LONGEST_LINE = 200  # characters of a line in a message
_WHOLE = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class _Scheme:
    """What stands beside label files about them.

    Attributes:
        names: Class number -> name.
        described: Whether a data.yaml says what longer lines are.
        key_points: Values of a pose line behind its box; None: they are not poses.
        kpt_shape: As data.yaml has it, for messages.
    """

    names: Mapping[int, str]
    described: bool = False
    key_points: int | None = None
    kpt_shape: str = ""


def read(folder: Path) -> Iterator[LabelFile | BadFile]:
    """Every .txt file below a folder, by name.

    Raises:
        ConfigError: Nothing names the classes of any of them.
    """
    known: dict[Path, _Scheme | ConfigError] = {}
    unnamed: list[BadFile] = []
    for path in sorted(folder.rglob("*.txt")):
        if path.name.lower() in _NOT_LABELS:
            continue
        name = shown_path(path, folder)
        if path.parent not in known:
            known[path.parent] = _scheme_or_error(path.parent, folder)
        scheme = known[path.parent]
        if isinstance(scheme, ConfigError):
            unnamed.append(BadFile(name, str(scheme), path.stem))
            continue
        try:
            boxes = _boxes(read_text(path), scheme)
            yield LabelFile(file=name, image=path.stem, objects=boxes, normalised=True)
        except (OSError, ValueError) as error:
            yield BadFile(name, f"is not a YOLO label file: {error}", path.stem)
    errors = [scheme for scheme in known.values() if isinstance(scheme, ConfigError)]
    if errors and len(errors) == len(known):
        raise errors[0]
    yield from unnamed


def class_names(beside: Path, folder: Path) -> dict[int, str]:
    """Class number -> name.

    Args:
        beside: Where the label files lie: `folder` or below.
        folder: The folder that was given.

    Raises:
        ConfigError: No file says so, the one that does cannot be read, or several elsewhere contradict each other.
    """
    for place in _places(beside, folder):
        path = _first(place, (*_LISTS, *_YAMLS))
        if path is not None:
            return _names_in(path)
    return _names_elsewhere(folder)


def _places(beside: Path, folder: Path) -> list[Path]:
    """Where to look for what describes label files, nearest first."""
    inside = [place for place in (beside, *beside.parents) if place.is_relative_to(folder)]
    return [*inside, folder.resolve().parent]


def _scheme_or_error(beside: Path, folder: Path) -> _Scheme | ConfigError:
    try:
        names = class_names(beside, folder)
        for place in _places(beside, folder):
            path = _first(place, _YAMLS)
            if path is not None:
                return _described(names, path)
        return _Scheme(names)
    except ConfigError as error:
        return error


def _described(names: Mapping[int, str], path: Path) -> _Scheme:
    shape = _yaml(path).get("kpt_shape")
    if shape is None:
        return _Scheme(names, described=True)
    whole = isinstance(shape, list) and len(shape) == 2 and all(type(each) is int for each in shape)
    if not whole or not 1 <= shape[0] <= 1000 or shape[1] not in (2, 3):
        raise ConfigError(
            f"{path}: kpt_shape is {short_repr(shape)}", expected="[key points, values of each: 2 or 3], e.g. [2, 3]"
        )
    return _Scheme(names, described=True, key_points=prod(shape), kpt_shape=str(shape))


def _names_elsewhere(folder: Path) -> dict[int, str]:
    """From the class lists anywhere below a folder, which have to agree: none is the label files' own."""
    below = sorted((each for each in folder.rglob("*") if each.is_dir()), key=lambda each: (len(each.parts), each))
    paths = [path for path in (_first(place, (*_LISTS, *_YAMLS)) for place in below) if path is not None]
    if not paths:
        raise ConfigError(
            f"{folder}: nothing says which class has which number",
            expected="classes.txt, obj.names or data.yaml in that folder, the one above, or beside the label files",
        )
    names = _names_in(paths[0])
    for path in paths[1:]:
        if _names_in(path) != names:
            raise ConfigError(
                f"{folder}: {paths[0]} and {path} do not agree on which class has which number",
                fix="put the one that is right beside the label files",
            )
    return names


def _first(place: Path, patterns: Sequence[str]) -> Path | None:
    for pattern in patterns:
        for path in sorted(place.glob("*")):
            if fnmatchcase(path.name.lower(), pattern) and path.is_file():
                return path
    return None


def _names_in(path: Path) -> dict[int, str]:
    if path.name.lower() in _YAMLS:
        return _from_yaml(path)
    try:
        lines = [line.strip() for line in read_text(path).splitlines()]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}", expected="a text file in UTF-8") from error
    return {n: name for n, name in enumerate(lines) if name}


def _yaml(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}", expected="names: [first, second, ...]") from error
    return content if isinstance(content, dict) else {}


def _from_yaml(path: Path) -> dict[int, str]:
    names = _yaml(path).get("names")
    pairs = list(names.items() if isinstance(names, dict) else enumerate(names) if isinstance(names, list) else ())
    if not pairs or not all(isinstance(name, str | int | float) for _, name in pairs):
        raise ConfigError(f"{path}: has no `names` that can be read", expected="names: [first, second, ...]")
    try:
        return {int(n): str(name) for n, name in pairs}
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{path}: has no `names` that can be read", expected="names: [first, second, ...]") from error


def _boxes(text: str, scheme: _Scheme) -> tuple[ForeignBox, ...]:
    lines = [(n, line.split()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    few_enough(len(lines))
    longer = [words for _, words in lines if len(words) > 5]
    numbered = bool(longer) and all(_WHOLE.fullmatch(words[-1]) for words in longer)
    boxes = []
    for n, words in lines:
        try:
            boxes.append(_box(words, scheme, numbered))
        except ValueError as error:
            line = " ".join(words)
            cut = line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 3] + "..."
            raise ValueError(f"line {n} ({marked(cut, LONGEST)}): {error}") from error
    return tuple(boxes)


def _box(words: Sequence[str], scheme: _Scheme, numbered: bool) -> ForeignBox:
    """A line's box.

    Args:
        words: The line.
        scheme: What is known of the file.
        numbered: All longer lines of the file end in a whole number, as tracks do.
    """
    if not _WHOLE.fullmatch(words[0]) or len(words[0]) > 9:
        raise ValueError(f"{short_repr(words[0])} is no class number")
    label = scheme.names.get(int(words[0]), f"class {words[0]}")
    values = [number(word, f"value {n}") for n, word in enumerate(words[1:], 2)]
    if len(values) != 4:
        _must_be_told_apart(len(words), scheme, numbered)
    if len(values) == 4 or scheme.key_points is not None:
        x, y, width, height = values[:4]
        return _checked(ForeignBox(label, x - width / 2, y - height / 2, width, height))
    return _checked(_hull(label, values))


def _must_be_told_apart(count: int, scheme: _Scheme, numbered: bool) -> None:
    """Refuse a line that may mean something else than what it would be taken for.

    Raises:
        ValueError: Saying what it may be, and what to do.
    """
    expected = "expected 5: class x-centre y-centre width height"
    if scheme.key_points is not None:
        with_points = 5 + scheme.key_points
        if count != with_points:
            raise ValueError(
                f"{count} values, expected {with_points} for kpt_shape {scheme.kpt_shape}, or 5"
                + ("; remove the extra columns (score, track)" if count in (with_points + 1, with_points + 2) else "")
            )
    elif count < 5:
        raise ValueError(f"{count} values, {expected}")
    elif count == 6:
        raise ValueError(f"6 values, {expected}; remove the extra column (a score or a track's number)")
    elif not scheme.described:
        raise ValueError(
            f"{count} values, {expected}. Longer lines are outlines, poses or tracks, and nothing says which: put the "
            "data.yaml of the labels beside them (with kpt_shape for poses), or remove the extra columns"
        )
    elif count % 2 == 0 or count < 7:
        raise ValueError(f"{count} values, {expected}, or an outline of at least 3 points (data.yaml has no kpt_shape)")
    elif numbered:
        raise ValueError(
            f"{count} values of which the last is a whole number: a track's, as `yolo track` writes it, or an "
            "outline's last place; remove the extra columns (score, track), or write the place as 1.0"
        )


def _hull(label: str, values: Sequence[float]) -> ForeignBox:
    if not all(-_OUTSIDE <= value <= 1 + _OUTSIDE for value in values):
        raise ValueError("an outline with a place outside the image, expected fractions of the image, 0 to 1")
    xs, ys = values[::2], values[1::2]
    return ForeignBox(label, min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))


def _checked(box: ForeignBox) -> ForeignBox:
    """The box, if it is one: pixels where fractions are expected, for example, give a centre outside the image."""
    positive(box.width, box.height)
    x, y = box.x + box.width / 2, box.y + box.height / 2
    if not all(-_TOLERANCE <= place <= 1 + _TOLERANCE for place in (x, y)):
        raise ValueError(f"a box with its centre at {x:g} {y:g}, expected fractions of the image, 0 to 1")
    if max(box.width, box.height) > 1 + 2 * _OUTSIDE:
        raise ValueError(f"a box of width {box.width:g} and height {box.height:g}, expected fractions of the image")
    return box
