"""The dataset as one training sees it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from tasks.kinds.detection.job import DetectorJob

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif"}
LOOKED_AT = 16
"""Training images to show the finished model on, where there is no validation split."""


def local_data(job: DetectorJob) -> Path:
    """The dataset as this training sees it: where there is no validation split, a few training images stand in.

    They are looked at after training only, to show how the model sees what it learned from; nothing is chosen by them.
    """
    data = yaml.safe_load(job.data_yaml.read_text())
    root = _root(job.data_yaml, data)
    local = job.folder / "data.yaml"
    names = {key: value for key, value in data.items() if key not in {"test", "val", "path"}} | {"path": str(root)}
    if job.has_val:
        names["val"] = data["val"]
    else:
        images = images_below(root, data["train"])
        some = images[:: max(1, len(images) // LOOKED_AT)][:LOOKED_AT]
        (job.folder / "look.txt").write_text("".join(f"{path}\n" for path in some))
        names["val"] = str(job.folder / "look.txt")
    part = local.with_name(f".{local.name}.{os.getpid()}")  # several processes of one training write the same
    part.write_text(yaml.safe_dump(names, sort_keys=False))
    part.replace(local)
    return local


def longest_side_px(data_yaml: Path) -> int:
    """The longest side of any training image, in pixels (their headers say so)."""
    data = yaml.safe_load(data_yaml.read_text())
    return max((max(shape) for shape in _shapes(images_below(_root(data_yaml, data), data["train"]))), default=0)


def class_names(data_yaml: Path) -> list[str]:
    """The dataset's classes, by their numbers."""
    names = yaml.safe_load(data_yaml.read_text())["names"]
    return [str(names[index]) for index in sorted(names)]


def _root(data_yaml: Path, data: dict[str, Any]) -> Path:
    root = Path(data.get("path") or data_yaml.parent)
    return root if root.is_absolute() else data_yaml.parent / root


def training_images(data: Path) -> list[Path]:
    """The training split's images."""
    content = yaml.safe_load(data.read_text())
    return images_below(Path(content["path"]), content["train"])


def images_below(root: Path, where: str | list[str]) -> list[Path]:
    """The images of a split: below a folder, or those that a text file lists."""
    images: list[Path] = []
    for entry in [where] if isinstance(where, str) else where:
        place = root / entry
        if place.suffix == ".txt":
            images += [root / line.strip() for line in place.read_text().splitlines() if line.strip()]
        else:
            images += [path for path in place.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(images)


def of_one_shape(images: list[Path]) -> bool:
    """Whether all images have the same width and height (their headers say so)."""
    return len(_shapes(images)) <= 1


def _shapes(images: list[Path]) -> set[tuple[int, int]]:
    from PIL import Image

    shapes: set[tuple[int, int]] = set()
    for path in images:
        with Image.open(path) as image:
            shapes.add(image.size)
    return shapes
