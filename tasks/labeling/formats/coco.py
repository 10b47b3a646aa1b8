"""COCO: a JSON file with images, annotations and categories. An image without annotations has nothing on it. What an
annotation says of its object, the line's kind reads.

That is why the ids are looked at before anything is taken: an id that stands twice, or an annotation that belongs to no
image, means that some image would get another's boxes, or pass for an empty one. Ids may be numbers or text, and `"7"`
is 7: converters mix them. What stands there twice, and says the same, counts once: files are joined carelessly.
`iscrowd` marks a region of many objects.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.escaping import marked, short_repr
from tasks.kind import BadFile, LabelFile
from tasks.labeling.formats.content import LONGEST, few_enough, read_json, shown_path, side
from tasks.labeling.formats.image_names import stem_of

Entry = dict[str, Any]
ReadObject = Callable[[Entry, str], Any]
"""An annotation, and its class's name → what the kind keeps of it. Raises `ValueError`, saying what is wrong."""
_Id = int | str
_WHOLE = re.compile(r"(0|-?[1-9][0-9]{0,17})(?:\.0+)?")


def read_images(folder: Path, read_object: ReadObject, things: str) -> Iterator[LabelFile | BadFile]:
    """Every image of every .json file below a folder, by name.

    Args:
        folder: Searched with everything below it.
        read_object: Of the kind.
        things: What its objects are called in messages, e.g. 'boxes'.
    """
    for path in sorted(folder.rglob("*.json")):
        name = shown_path(path, folder)
        try:
            parsed = _CocoFile.of(name, read_json(path), read_object, things).read()
        except (OSError, ValueError) as error:
            parsed = [BadFile(name, f"is not a COCO file: {error}")]
        yield from parsed


@dataclass(frozen=True)
class _CocoFile:
    """The three lists of a file, and what is wrong with their ids.

    Attributes:
        twice: For 'images', 'annotations' and 'categories': the ids that stand twice.
    """

    name: str
    images: list[Entry]
    annotations: list[Entry]
    categories: dict[_Id, str]
    twice: dict[str, set[_Id]]
    read_object: ReadObject
    things: str

    @classmethod
    def of(cls, name: str, content: Any, read_object: ReadObject, things: str) -> _CocoFile:
        lists = {key: _once(_entries(content, key), _SAYS[key]) for key in ("images", "annotations", "categories")}
        named = {i: _name(entry) for entry in lists["categories"] if (i := _id(entry.get("id"))) is not None}
        twice = {key: _twice(entries) for key, entries in lists.items()}
        return cls(name, lists["images"], lists["annotations"], named, twice, read_object, things)

    def read(self) -> list[LabelFile | BadFile]:
        """The images by name, then the annotations that belong to none of them."""
        ids = {i for image in self.images if (i := _id(image.get("id"))) is not None}
        by_image: dict[_Id, list[tuple[int, Entry]]] = defaultdict(list)
        strays, homeless = [], False
        for n, entry in enumerate(self.annotations, 1):
            image_id = _id(entry.get("image_id"))
            if image_id is not None and image_id in ids:
                by_image[image_id].append((n, entry))
            else:
                strays.append(BadFile(f"{self.name}: {_called('annotation', n, entry)}", _astray(entry)))
                homeless |= image_id is None
        images = sorted(enumerate(self.images, 1), key=lambda image: str(image[1].get("file_name")))
        doubt = _Doubt(len(strays), homeless)
        return [self._image(n, image, by_image, doubt) for n, image in images] + strays

    def _image(
        self, n: int, image: Entry, by_image: dict[_Id, list[tuple[int, Entry]]], doubt: _Doubt
    ) -> LabelFile | BadFile:
        file_name = image.get("file_name")
        if not isinstance(file_name, str) or not file_name:
            return BadFile(f"{self.name}: {_called('image', n, image)}", "has no file_name")
        name, stem, image_id = f"{self.name}: {marked(file_name, LONGEST)}", stem_of(file_name), _id(image.get("id"))
        if image_id is None:  # which annotations are its own is not known: it is not an image with nothing on it
            found = image.get("id")
            return BadFile(name, "has no id" if found is None else f"has the id {short_repr(found)}", stem)
        entries = by_image.get(image_id, [])
        reason = self._unsure(image_id, entries) or doubt.of(entries)
        if reason:
            return BadFile(name, reason, stem)
        try:
            few_enough(len(entries), self.things)
            return LabelFile(
                file=name,
                image=stem,
                objects=tuple(self._object(n, entry) for n, entry in entries),
                width_px=side(image.get("width"), "its width"),
                height_px=side(image.get("height"), "its height"),
            )
        except ValueError as error:
            return BadFile(name, f"cannot be taken: {error}", stem)

    def _unsure(self, image_id: _Id, entries: Sequence[tuple[int, Entry]]) -> str | None:
        """Why nobody can tell what is on an image: an id that stands twice."""
        if image_id in self.twice["images"]:
            return f"its id {image_id!r} is another image's, too: nobody can tell whose {self.things} are whose"
        for what, key, field in (("annotation", "annotations", "id"), ("category", "categories", "category_id")):
            own = sorted({repr(i) for _, entry in entries if (i := _id(entry.get(field))) in self.twice[key]})
            if own:
                return f"the {what} id {', '.join(own[:5])} stands twice in {key}: nobody can tell which is meant"
        return None

    def _object(self, n: int, entry: Entry) -> Any:
        called = _called("annotation", n, entry)
        try:
            label = self._label(entry)
            return self.read_object(entry, label)
        except ValueError as error:
            raise ValueError(f"{called}: {error}") from error

    def _label(self, entry: Entry) -> str:
        category = _id(entry.get("category_id"))
        if category is None:
            raise ValueError("it has no category_id" + _instead(entry.get("category_id")))
        if category not in self.categories:
            raise ValueError(f"its category {category!r} is not in categories")
        return self.categories[category]


@dataclass(frozen=True)
class _Doubt:
    """What annotations that belong to no image mean for the images of their file.

    Attributes:
        strays: How many there are.
        homeless: One names no image at all: it may belong to any.
    """

    strays: int
    homeless: bool

    def of(self, entries: Sequence[Any]) -> str | None:
        """Why an image with these annotations of its own is not believed."""
        if not self.strays or (entries and not self.homeless):
            return None
        lacking = "may lack some of its own" if entries else "may not be empty"
        return (
            f"{lacking}: {self.strays} annotation{'s' * (self.strays > 1)} of this file belong to none of its images; "
            "correct or remove them"
        )


def _entries(content: Any, key: str) -> list[Entry]:
    if not isinstance(content, dict):
        raise ValueError("it holds no object with images, annotations and categories")
    if key not in content:
        raise ValueError(f"it has no {key!r}")
    entries = content[key]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{key} is not a list of objects")
    return entries


def _id(value: Any) -> _Id | None:
    """An id, the same whether it was written as a number or as text; None where it is neither."""
    if isinstance(value, str):
        text = value.strip()
        whole = _WHOLE.fullmatch(text)
        return int(whole[1]) if whole else text or None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _once(entries: list[Entry], says: Callable[[Entry], Any]) -> list[Entry]:
    """The entries without those that repeat one of the same id and say the same."""
    twice = _twice(entries)
    if not twice:
        return entries
    seen: set[tuple[_Id, Any]] = set()
    kept = []
    for entry in entries:
        own = _id(entry.get("id"))
        if own in twice and own is not None:
            if (key := (own, says(entry))) in seen:
                continue
            seen.add(key)
        kept.append(entry)
    return kept


_SAYS: dict[str, Callable[[Entry], Any]] = {
    "images": lambda entry: repr([entry.get(key) for key in ("file_name", "width", "height")]),
    "annotations": lambda entry: json.dumps(entry, sort_keys=True),
    "categories": lambda entry: _name(entry),
}
"""What of an entry matters: two of one id that differ in it are not the same."""


def _twice(entries: Sequence[Entry]) -> set[_Id]:
    counts = Counter(i for entry in entries if (i := _id(entry.get("id"))) is not None)
    return {i for i, count in counts.items() if count > 1}


def _name(category: Entry) -> str:
    name = category.get("name")
    return str(name) if isinstance(name, str | int | float) else ""


def _called(what: str, n: int, entry: Entry) -> str:
    known = _id(entry.get("id"))
    return f"{what} no. {n}" if known is None else f"{what} {marked(str(known), LONGEST)}"


def _astray(entry: Entry) -> str:
    value = entry.get("image_id")
    if _id(value) is None:
        return "has no image_id" + _instead(value)
    return f"its image_id {short_repr(value)} is not in images"


def _instead(value: Any) -> str:
    return "" if value is None else f" that can be one ({short_repr(value)})"


def is_crowd(entry: Entry) -> bool:
    """An annotation's `iscrowd`.

    Raises:
        ValueError: It is neither 0 nor 1.
    """
    value = entry.get("iscrowd")
    if value in (None, 0, 1, "0", "1"):
        return value in (1, "1")
    raise ValueError(f"its iscrowd is {short_repr(value)}, expected 0 or 1")
