"""What a label file holds, as text and numbers, whoever wrote it, and never more of it than a label file can need.

Label files come from everywhere. Byte-order marks and UTF-16 (Windows' Notepad) are no content. A file that is huge,
or made to become huge when it is read, costs only itself: readers turn a `ValueError` from here into a `BadFile`.
"""

from __future__ import annotations

import codecs
import json
import math
import os
from pathlib import Path
from typing import Any

import yaml

from tasks.escaping import marked, short_repr
from tasks.schemas import MAX_OBJECTS

MAX_TEXT_BYTES = 32 * 2**20
"""Of a label file of one image, or a list of classes."""
MAX_JSON_BYTES = 512 * 2**20
"""Of a COCO file, which holds many images."""
MAX_YAML_BYTES = 2**18
"""Of what describes a data set."""
MAX_PLACE = 1e6
"""No picture is so many pixels wide."""

_MAX_DEPTH = 20
LONGEST = 300  # characters of a name in a message
_MARK = "\ufeff"
_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_bytes(path: Path, most: int) -> bytes:
    """A file's bytes.

    Raises:
        ValueError: It is larger than `most`, or not a file (a pipe would be waited for).
        OSError: It cannot be read.
    """
    if not path.is_file():
        raise ValueError("it is not a file")
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it is larger than {most // 2**10} KiB; split it into smaller files")
    return data


def text_of(data: bytes) -> str:
    """Text in UTF-8, UTF-16 or UTF-32, without byte-order marks (also those inside, where files were joined).

    Raises:
        ValueError: It is text in none of them.
    """
    try:
        return data.decode(_encoding(data)).replace(_MARK, "")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not text in UTF-8 or UTF-16 ({error})") from error


def read_text(path: Path) -> str:
    """A text file's content; see `text_of`."""
    return text_of(read_bytes(path, MAX_TEXT_BYTES))


def _encoding(data: bytes) -> str:
    for mark, encoding in _ENCODINGS:
        if data.startswith(mark):
            return encoding
    if len(data) >= 4 and data[0] and data[2] and not data[1] and not data[3]:
        return "utf-16-le"  # without its mark
    if len(data) >= 4 and data[1] and data[3] and not data[0] and not data[2]:
        return "utf-16-be"
    return "utf-8"


def read_json(path: Path) -> Any:
    """A JSON file's content.

    Raises:
        ValueError: It is not JSON, or nested too deep to be a label file.
        OSError: It cannot be read.
    """
    try:
        return json.loads(text_of(read_bytes(path, MAX_JSON_BYTES)))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except MemoryError as error:
        raise ValueError("it does not fit into memory; split it into smaller files") from error


def read_yaml(path: Path) -> Any:
    """A small YAML file's content.

    Raises:
        ValueError: It is not YAML, nested too deep, or has aliases (with which a few lines become gigabytes).
        OSError: It cannot be read.
    """
    text = text_of(read_bytes(path, MAX_YAML_BYTES))
    try:
        _must_be_plain(text)
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"it is not YAML ({' '.join(str(error).split())})") from error


def _must_be_plain(text: str) -> None:
    """Refuse YAML by its first event that no description needs: PyYAML takes hours for one that is nested deep."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it has aliases (*name); write out what they stand for")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise ValueError("it is nested too deep")


def number(value: Any, what: str) -> float:
    """A place or a size.

    Args:
        value: As the file has it: a number, or one as text.
        what: To call it in messages.

    Raises:
        ValueError: It is no finite number, or larger than any picture.
    """
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(f"{what} is {short_repr(value)}, expected a number")
    if abs(found) > MAX_PLACE:
        raise ValueError(f"{what} is {short_repr(value)}, which lies in no picture")
    return found


def positive(width: float, height: float) -> None:
    """Refuse a box without an area.

    Raises:
        ValueError: Naming its sides.
    """
    if width <= 0 or height <= 0:
        raise ValueError(f"a box of width {width:g} and height {height:g}, expected more than 0")


def side(value: Any, what: str) -> int | None:
    """A picture's side in pixels as a file states it; None for nothing and 0, as many writers leave it.

    Raises:
        ValueError: It is no such number.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    found = number(value, what)
    if found < 0:
        raise ValueError(f"{what} is {short_repr(value)}, expected a size in pixels")
    return int(found) or None


def shown_path(path: Path, folder: Path) -> str:
    """What to call a file before the user: its path below the folder that was given."""
    return marked(os.fsencode(path.relative_to(folder)).decode("utf-8", "replace"), LONGEST)


def few_enough(count: int, things: str = "boxes") -> None:
    """Refuse a frame with more objects than anybody can have drawn.

    Raises:
        ValueError: Saying so.
    """
    if count > MAX_OBJECTS:
        raise ValueError(
            f"it has {count} {things} on one image, and at most {MAX_OBJECTS} are taken: cut the picture into several"
        )
