"""YOLO: one .txt per image, an object a line, places as fractions of the image. What a line says, the kind reads.

Class names come from classes.txt, obj.names, another .names file or data.yaml: the nearest one, from the label file's
own folder up to the one above the folder that was given; else the one that lies elsewhere below that. `kpt_shape`
comes from the nearest data.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError
from tasks.escaping import marked, short_repr
from tasks.kind import BadFile, LabelFile
from tasks.labeling.formats.content import LONGEST, few_enough, number, read_text, read_yaml, shown_path

_LISTS = ("classes.txt", "obj.names", "*.names")
_YAMLS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_NOT_LABELS = {"classes.txt", "train.txt", "val.txt", "valid.txt", "test.txt", "readme.txt", "license.txt"}
OUTSIDE = 0.05
"""Of the image's side: an outline may stick out a little, a track's number is no place."""
_LONGEST_LINE = 200  # characters of a line in a message
WHOLE = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class Scheme:
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


ReadLine = Callable[[str, list[float], "LineContext"], Any]
"""A class's name, the values behind it and what is known of the file → what the kind keeps of the line. Raises
`ValueError`, saying what is wrong."""


@dataclass(frozen=True)
class LineContext:
    """What a line's reader may need beside it.

    Attributes:
        scheme: What is known of the file.
        numbered: All longer lines of the file end in a whole number, as tracks do.
    """

    scheme: Scheme
    numbered: bool


def read_files(folder: Path, read_line: ReadLine, things: str) -> Iterator[LabelFile | BadFile]:
    """Every .txt file below a folder, by name.

    Args:
        folder: Searched with everything below it.
        read_line: Of the kind.
        things: What its objects are called in messages, e.g. 'boxes'.

    Raises:
        ConfigError: Nothing names the classes of any of them.
    """
    known: dict[Path, Scheme | ConfigError] = {}
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
            objects = _objects(read_text(path), scheme, read_line, things)
            yield LabelFile(file=name, image=path.stem, objects=objects, normalised=True)
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


def _scheme_or_error(beside: Path, folder: Path) -> Scheme | ConfigError:
    try:
        names = class_names(beside, folder)
        for place in _places(beside, folder):
            path = _first(place, _YAMLS)
            if path is not None:
                return _described(names, path)
        return Scheme(names)
    except ConfigError as error:
        return error


def _described(names: Mapping[int, str], path: Path) -> Scheme:
    shape = _yaml(path).get("kpt_shape")
    if shape is None:
        return Scheme(names, described=True)
    whole = isinstance(shape, list) and len(shape) == 2 and all(type(each) is int for each in shape)
    if not whole or not 1 <= shape[0] <= 1000 or shape[1] not in (2, 3):
        raise ConfigError(
            f"{path}: kpt_shape is {short_repr(shape)}", expected="[key points, values of each: 2 or 3], e.g. [2, 3]"
        )
    return Scheme(names, described=True, key_points=prod(shape), kpt_shape=str(shape))


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


def _objects(text: str, scheme: Scheme, read_line: ReadLine, things: str) -> tuple[Any, ...]:
    lines = [(n, line.split()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    few_enough(len(lines), things)
    longer = [words for _, words in lines if len(words) > 5]
    numbered = bool(longer) and all(WHOLE.fullmatch(words[-1]) for words in longer)
    context = LineContext(scheme, numbered)
    found = []
    for n, words in lines:
        try:
            found.append(_object(words, read_line, context))
        except ValueError as error:
            line = " ".join(words)
            cut = line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 3] + "..."
            raise ValueError(f"line {n} ({marked(cut, LONGEST)}): {error}") from error
    return tuple(found)


def _object(words: Sequence[str], read_line: ReadLine, context: LineContext) -> Any:
    if not WHOLE.fullmatch(words[0]) or len(words[0]) > 9:
        raise ValueError(f"{short_repr(words[0])} is no class number")
    label = context.scheme.names.get(int(words[0]), f"class {words[0]}")
    return read_line(label, [number(word, f"value {n}") for n, word in enumerate(words[1:], 2)], context)
