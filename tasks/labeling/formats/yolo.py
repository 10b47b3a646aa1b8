"""YOLO: one .txt per image with `class x-centre y-centre width height` a line, as fractions of the image.

Lines with more places are outlines (`class x y x y x y ...`): their hull is the box. Class names come from classes.txt,
obj.names, another .names file or data.yaml, in the folder or the one above it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tasks.errors import ConfigError
from tasks.labeling.formats.records import BadFile, ForeignBox, LabelFile

_LISTS = ("classes.txt", "obj.names", "*.names")
_YAMLS = ("data.yaml", "data.yml", "dataset.yaml")
_NOT_LABELS = {"classes.txt", "train.txt", "val.txt", "valid.txt", "test.txt", "readme.txt", "license.txt"}


def read(folder: Path) -> Iterator[LabelFile | BadFile]:
    """Every .txt file below a folder, by name.

    Raises:
        ConfigError: Nothing names the classes.
    """
    names = class_names(folder)
    for path in sorted(folder.rglob("*.txt")):
        if path.name.lower() in _NOT_LABELS:
            continue
        name = str(path.relative_to(folder))
        try:
            lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
            boxes = tuple(_box(line.split(), names) for line in lines)
            yield LabelFile(file=name, image=path.stem, boxes=boxes, normalised=True)
        except (OSError, ValueError) as error:
            yield BadFile(name, f"is not a YOLO label file: {error}")


def class_names(folder: Path) -> dict[int, str]:
    """Class number -> name.

    Raises:
        ConfigError: No file says so, or the one that does cannot be read.
    """
    for place in (folder, folder.resolve().parent):
        for pattern in _LISTS:
            for path in sorted(place.glob(pattern)):
                lines = [line.strip() for line in _text(path).splitlines()]
                return {number: name for number, name in enumerate(lines) if name}
        for pattern in _YAMLS:
            for path in sorted(place.glob(pattern)):
                return _from_yaml(path)
    raise ConfigError(
        f"{folder}: nothing says which class has which number",
        expected="classes.txt, obj.names or data.yaml in that folder or the one above",
    )


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
        return ForeignBox(label, x - width / 2, y - height / 2, width, height)
    if len(places) >= 6 and len(places) % 2 == 0:
        xs, ys = places[::2], places[1::2]
        return ForeignBox(label, min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
    raise ValueError(f"{len(words)} values in a line, expected 5: class x-centre y-centre width height")
