"""YOLO: one .txt per image with `class x-centre y-centre width height` a line, as fractions of the image.

Lines with more places are outlines (`class x y x y x y ...`): their hull is the box. Class names come from classes.txt,
obj.names, another .names file or data.yaml: the nearest one, from the label file's own folder up to the one above the
folder that was given; else the one that lies elsewhere below that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from tasks.errors import ConfigError
from tasks.labeling.formats.records import BadFile, ForeignBox, LabelFile

_LISTS = ("classes.txt", "obj.names", "*.names")
_YAMLS = ("data.yaml", "data.yml", "dataset.yaml")
_NOT_LABELS = {"classes.txt", "train.txt", "val.txt", "valid.txt", "test.txt", "readme.txt", "license.txt"}
_TOLERANCE = 1e-6  # of the image's side: centres are rounded when written


def read(folder: Path) -> Iterator[LabelFile | BadFile]:
    """Every .txt file below a folder, by name.

    Raises:
        ConfigError: Nothing names the classes.
    """
    known: dict[Path, dict[int, str]] = {}
    for path in sorted(folder.rglob("*.txt")):
        if path.name.lower() in _NOT_LABELS:
            continue
        if path.parent not in known:
            known[path.parent] = class_names(path.parent, folder)
        names = known[path.parent]
        name = str(path.relative_to(folder))
        try:
            lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
            boxes = tuple(_box(line.split(), names) for line in lines)
            yield LabelFile(file=name, image=path.stem, boxes=boxes, normalised=True)
        except (OSError, ValueError) as error:
            yield BadFile(name, f"is not a YOLO label file: {error}", path.stem)


def class_names(beside: Path, folder: Path) -> dict[int, str]:
    """Class number -> name.

    Args:
        beside: Where the label files lie: `folder` or below.
        folder: The folder that was given.

    Raises:
        ConfigError: No file says so, the one that does cannot be read, or several elsewhere contradict each other.
    """
    inside = [place for place in (beside, *beside.parents) if place.is_relative_to(folder)]
    for place in (*inside, folder.resolve().parent):
        path = _class_list(place)
        if path is not None:
            return _names_in(path)
    return _names_elsewhere(folder)


def _names_elsewhere(folder: Path) -> dict[int, str]:
    """From the class lists anywhere below a folder, which have to agree: none is the label files' own."""
    below = sorted((each for each in folder.rglob("*") if each.is_dir()), key=lambda each: (len(each.parts), each))
    paths = [path for path in map(_class_list, below) if path is not None]
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


def _class_list(place: Path) -> Path | None:
    for pattern in (*_LISTS, *_YAMLS):
        for path in sorted(place.glob("*")):
            if fnmatchcase(path.name.lower(), pattern) and path.is_file():
                return path
    return None


def _names_in(path: Path) -> dict[int, str]:
    if path.name.lower() in _YAMLS:
        return _from_yaml(path)
    lines = [line.strip() for line in _text(path).splitlines()]
    return {number: name for number, name in enumerate(lines) if name}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}", expected="a text file in UTF-8") from error


def _from_yaml(path: Path) -> dict[int, str]:
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        names = content["names"]
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(number): str(name) for number, name in pairs}
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: has no `names` that can be read", expected="names: [first, second, ...]") from error


def _box(words: list[str], names: dict[int, str]) -> ForeignBox:
    places = [float(word) for word in words[1:]]
    if not all(math.isfinite(place) for place in places):
        raise ValueError(f"a place that is no number in {' '.join(words)!r}")
    label = names.get(int(words[0]), f"class {words[0]}")
    if len(places) == 4:
        x, y, width, height = places
        return _checked(ForeignBox(label, x - width / 2, y - height / 2, width, height))
    if len(places) >= 6 and len(places) % 2 == 0:
        xs, ys = places[::2], places[1::2]
        return _checked(ForeignBox(label, min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)))
    raise ValueError(f"{len(words)} values in a line, expected 5: class x-centre y-centre width height")


def _checked(box: ForeignBox) -> ForeignBox:
    """The box, if it is one: pixels where fractions are expected, for example, give a centre outside the image."""
    if box.width <= 0 or box.height <= 0:
        raise ValueError(f"a box of width {box.width:g} and height {box.height:g}, expected more than 0")
    x, y = box.x + box.width / 2, box.y + box.height / 2
    if not all(-_TOLERANCE <= place <= 1 + _TOLERANCE for place in (x, y)):
        raise ValueError(f"a box with its centre at {x:g} {y:g}, expected fractions of the image, 0 to 1")
    return box
