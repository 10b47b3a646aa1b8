"""The class of a picture is the name of its folder; where no folder is a class, a word in its own name.

    normal/cell (3).png          folder `normal`
    set-2/non_sperm/7.bmp        folder `non_sperm`; what else stands around it does not matter
    Non-Sperm_0012.png           a word of the name; of `sperm` and `non sperm` the longer one counts

Where some folder is a class, names count only for pictures that lie in no folder: beside `normal/`, a folder
`tail_defect/` is a class that the line does not have, and `tail_defect/normal_ref_1.png` is not normal.

Names are compared with the line's classes and their aliases, ignoring case. In a multi-label line a folder says that
its class is there, and nothing of the others.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tasks.config import Line
from tasks.escaping import marked, short_repr
from tasks.kind import BadFile, LabelFile
from tasks.kinds.classification.formats.records import Judged, Picture, pictures_in
from tasks.labeling.formats.content import LONGEST
from tasks.labeling.formats.image_names import stem_of


def read(place: Path, line: Line) -> Iterator[LabelFile | BadFile]:
    """Every picture below a folder, or in a ZIP file, with its class."""
    try:
        by_folder = any(_among(picture.folders, line) for picture in pictures_in(place))
        for picture in pictures_in(place):
            yield _read_one(picture, place, line, by_folder)
    except (zipfile.BadZipFile, OSError) as error:
        yield BadFile(place.name, f"cannot be read: {error}")


def _read_one(picture: Picture, place: Path, line: Line, by_folder: bool) -> LabelFile | BadFile:
    file, image = marked(picture.path, LONGEST), stem_of(picture.path)
    try:
        label = _class_of(picture, image, place, line, by_folder)
        return LabelFile(file=file, image=image, objects=(Judged(label),), picture_oid=picture.oid())
    except (OSError, ValueError) as error:
        return BadFile(file, str(error), image)


def _class_of(picture: Picture, image: str, place: Path, line: Line, by_folder: bool) -> str:
    """The class that a picture's folders state, or its name; `by_folder`: the class of others is their folder's.

    Raises:
        ValueError: They state none, or several.
    """
    stated = [_among(picture.folders, line), _among([place.resolve().name], line)]
    if not (by_folder and picture.folders):
        stated.append(classes_in_name(image, line))
    for names in stated:
        if len(names) > 1:
            raise ValueError(f"its name means several classes: {', '.join(map(short_repr, names))}")
        if names:
            return names[0]
    if picture.folders:
        return picture.folders[-1]  # a class that the line does not have; the import says so
    raise ValueError(
        f"it lies in no folder that is named like a class, and its name holds none (line {line.line} has "
        f"{', '.join(line.classes)})"
    )


def _among(folders: list[str], line: Line) -> list[str]:
    return list(dict.fromkeys(name for each in folders if (name := line.class_named(each)) is not None))


def classes_in_name(stem: str, line: Line) -> list[str]:
    """The line's classes that are words of a file's name. What is part of a longer class's name does not count."""
    text = _words(stem)
    found: dict[tuple[int, int], str] = {}
    for name, spec in line.classes.items():
        for called in (name, *spec.aliases):
            pattern = rf"(?<![^\W\d_]){re.escape(_words(called))}(?![^\W\d_])"
            found |= {match.span(): name for match in re.finditer(pattern, text) if match[0]}
    whole = [
        name
        for (start, end), name in found.items()
        if not any((a, b) != (start, end) and a <= start and end <= b for a, b in found)
    ]
    return list(dict.fromkeys(whole))


def _words(name: str) -> str:
    """A name in lower case, its words one blank apart."""
    return re.sub(r"[\W_]+", " ", name.casefold()).strip()
