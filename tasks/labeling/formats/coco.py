"""COCO: a JSON file with images, annotations and categories. An image without annotations has nothing on it."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.labeling.formats.records import BadFile, ForeignBox, LabelFile


def read(folder: Path) -> Iterator[LabelFile | BadFile]:
    """Every image of every .json file below a folder, by name."""
    for path in sorted(folder.rglob("*.json")):
        name = str(path.relative_to(folder))
        try:
            content = json.loads(path.read_bytes())
            yield from _parse(name, content)
        except (OSError, ValueError, KeyError, TypeError) as error:
            yield BadFile(name, f"is not a COCO file: {_said(error)}")


def _parse(name: str, content: Any) -> list[LabelFile | BadFile]:
    """The images by name, then the annotations that belong to none of them."""
    categories = {entry["id"]: str(entry["name"]) for entry in _entries(content, "categories")}
    images = sorted(enumerate(_entries(content, "images"), 1), key=lambda image: str(image[1].get("file_name")))
    known = {image["id"] for _, image in images if image.get("id") is not None}
    by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    strays: list[LabelFile | BadFile] = []
    for number, entry in enumerate(_entries(content, "annotations"), 1):
        if entry.get("image_id") in known:
            by_image[entry["image_id"]].append(entry)
        else:
            strays.append(_stray(name, number, entry))
    return [_image(name, number, image, by_image[image.get("id")], categories) for number, image in images] + strays


def _entries(content: Any, key: str) -> list[dict[str, Any]]:
    entries = content[key]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise TypeError(f"{key} is not a list of objects")
    return entries


def _stray(name: str, number: int, entry: dict[str, Any]) -> BadFile:
    called = f"annotation {entry['id']}" if "id" in entry else f"annotation no. {number}"
    image_id = entry.get("image_id")
    reason = "has no image_id" if image_id is None else f"its image_id {image_id!r} is not in images"
    return BadFile(f"{name}: {called}", reason)


def _image(
    name: str, number: int, image: dict[str, Any], entries: list[dict[str, Any]], categories: dict[Any, str]
) -> LabelFile | BadFile:
    if not image.get("file_name"):
        called = f"image {image['id']}" if "id" in image else f"image no. {number}"
        return BadFile(f"{name}: {called}", "has no file_name")
    name = f"{name}: {image['file_name']}"
    stem = Path(str(image["file_name"]).replace("\\", "/")).stem
    if image.get("id") is None:  # which annotations are its own is not known: it is not an image with nothing on it
        return BadFile(name, "has no id", stem)
    try:
        return LabelFile(
            file=name,
            image=stem,
            boxes=tuple(_box(entry, categories) for entry in entries),
            width_px=int(image.get("width") or 0) or None,
            height_px=int(image.get("height") or 0) or None,
        )
    except (ValueError, KeyError, TypeError) as error:
        return BadFile(name, f"has a damaged annotation: {_said(error)}", stem)


def _box(entry: dict[str, Any], categories: dict[Any, str]) -> ForeignBox:
    x, y, width, height = (float(side) for side in entry["bbox"])
    if not all(math.isfinite(side) for side in (x, y, width, height)):
        raise ValueError(f"bbox {entry['bbox']}")
    if entry["category_id"] not in categories:
        raise ValueError(f"category {entry['category_id']} is not in categories")
    return ForeignBox(categories[entry["category_id"]], x, y, width, height)


def _said(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)
