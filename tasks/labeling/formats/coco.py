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
            categories = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
            images = sorted(content["images"], key=lambda image: str(image["file_name"]))
            by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
            for entry in content["annotations"]:
                by_image[entry["image_id"]].append(entry)
        except (OSError, ValueError, KeyError, TypeError) as error:
            yield BadFile(name, f"is not a COCO file: {_said(error)}")
            continue
        for image in images:
            yield _image(f"{name}: {image['file_name']}", image, by_image.get(image.get("id"), []), categories)


def _image(
    name: str, image: dict[str, Any], entries: list[dict[str, Any]], categories: dict[Any, str]
) -> LabelFile | BadFile:
    try:
        return LabelFile(
            file=name,
            image=Path(str(image["file_name"]).replace("\\", "/")).stem,
            boxes=tuple(_box(entry, categories) for entry in entries),
            width_px=int(image.get("width") or 0) or None,
            height_px=int(image.get("height") or 0) or None,
        )
    except (ValueError, KeyError, TypeError) as error:
        return BadFile(name, f"has a damaged annotation: {_said(error)}")


def _box(entry: dict[str, Any], categories: dict[Any, str]) -> ForeignBox:
    x, y, width, height = (float(side) for side in entry["bbox"])
    if not all(math.isfinite(side) for side in (x, y, width, height)):
        raise ValueError(f"bbox {entry['bbox']}")
    if entry["category_id"] not in categories:
        raise ValueError(f"category {entry['category_id']} is not in categories")
    return ForeignBox(categories[entry["category_id"]], x, y, width, height)


def _said(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)
