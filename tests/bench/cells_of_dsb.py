"""The Data Science Bowl 2018's cells for benches: read, grouped by kind of picture, split, written as a dataset.

<id>/images/<id>.png, <id>/masks/*.png, a mask file for each nucleus; as a folder, a .tar.gz or a .zip.
"""

from __future__ import annotations

import json
import shutil
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.kind import Object
from tasks.kinds.segmentation.dataset import CellDataset, LabelledPicture
from tasks.kinds.segmentation.objects import mask_object

CLASS = "nucleus"
COLOURED = 10.0
"""Mean saturation (0 to 255) above which a picture is of a stained section: all here are below 1 or above 20."""
BRIGHT = 127.0
"""Median brightness above which an uncoloured picture is in bright field."""
SMALL_PX = 256 * 320
"""Pixels up to which a fluorescence picture is called small."""


@dataclass(frozen=True)
class CellPicture:
    """A picture with its cells.

    Attributes:
        path: Of the picture.
        group: Kind of picture, see `group_of`.
        height_px, width_px: Its size.
        objects: Its cells.
    """

    path: Path
    group: str
    height_px: int
    width_px: int
    objects: tuple[Object, ...]


def unpacked(path: Path, folder: Path) -> Path:
    """The folder of the pictures; an archive is unpacked into `folder` first."""
    if path.is_dir():
        return path
    if path.suffix == ".zip":
        zipfile.ZipFile(path).extractall(folder)
    else:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
    return folder


def read_pictures(root: Path) -> list[CellPicture]:
    """All pictures below a folder, sorted by name.

    Raises:
        ValueError: There are none; a picture has no masks, or one that is empty or not of the picture's size.
    """
    pictures = []
    for path in sorted(root.glob("**/images/*.png")):
        image = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR), np.uint8)
        height, width = image.shape[:2]
        objects = []
        for file in sorted((path.parent.parent / "masks").glob("*.png")):
            mask = np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), np.uint8)
            if mask.shape != (height, width) or not mask.any():
                raise ValueError(f"{file}: expected a mask of {width} x {height} pixels with a cell in it")
            objects.append(mask_object(CLASS, mask))
        if not objects:
            raise ValueError(f"{path}: expected masks in the folder beside it, found none: is the layout another?")
        pictures.append(CellPicture(path, group_of(image), height, width, tuple(objects)))
    if not pictures:
        raise ValueError(f"{root}: expected <id>/images/*.png, or the archive of them; found none")
    return pictures


def group_of(image: NDArray[np.uint8]) -> str:
    """The kind of a BGR picture: five, as the set's authors name them, by saturation, brightness, hue and size.

    'fluorescence small' and 'fluorescence large' (the picture, not its nuclei), 'brightfield', 'histology purple' (more
    blue than red), 'histology pink' (more red than blue).
    """
    if float(cv2.cvtColor(image, cv2.COLOR_BGR2HSV)[..., 1].mean()) > COLOURED:
        return "histology pink" if image[..., 2].mean() > image[..., 0].mean() else "histology purple"
    if float(np.median(image)) > BRIGHT:
        return "brightfield"
    return "fluorescence small" if image.shape[0] * image.shape[1] <= SMALL_PX else "fluorescence large"


def split(pictures: Sequence[CellPicture], share: float, seed: int) -> tuple[list[CellPicture], list[CellPicture]]:
    """Pictures and those set aside, by picture, stratified by group; of a group of two or more each part has one.

    Args:
        pictures: In their order.
        share: To set aside.
        seed: Of the draw.
    """
    random = np.random.default_rng(seed)
    kept: list[CellPicture] = []
    aside: list[CellPicture] = []
    for group in sorted({picture.group for picture in pictures}):
        own = [picture for picture in pictures if picture.group == group]
        order = [own[place] for place in random.permutation(len(own))]
        count = round(share * len(own)) if share else 0
        if share and len(own) > 1:
            count = min(max(1, count), len(own) - 1)
        aside += order[:count]
        kept += order[count:]
    return sorted(kept, key=lambda each: each.path), sorted(aside, key=lambda each: each.path)


def with_cells(pictures: Sequence[CellPicture], counts: Sequence[int], seed: int) -> list[CellPicture]:
    """Whole pictures, drawn at random, with so many cells as fit into the largest of `counts`.

    They are first drawn for the smallest count, then for the next one beside these: sets of fewer cells are parts of
    those of more. A picture with too many cells is passed over, so that a small set has none of the crowded ones.
    """
    order = [int(place) for place in np.random.default_rng(seed).permutation(len(pictures))]
    drawn: list[int] = []
    for count in sorted(counts):
        for place in order:
            have = sum(len(pictures[each].objects) for each in drawn)
            if place not in drawn and have + len(pictures[place].objects) <= count:
                drawn.append(place)
    return [pictures[place] for place in drawn]


def write_dataset(folder: Path, train: Sequence[CellPicture], val: Sequence[CellPicture]) -> Path:
    """Write what the training reads; the path of `dataset.json`."""
    (folder / "images").mkdir(parents=True)
    (folder / "cells").mkdir()
    images = []
    for number, (picture, part) in enumerate([*((p, "train") for p in train), *((p, "val") for p in val)]):
        file, cells = f"images/{picture.path.name}", f"cells/{number}.json"
        shutil.copyfile(picture.path, folder / file)
        (folder / cells).write_text(json.dumps(picture.objects))
        images.append({
            "file": file, "cells": cells, "split": part, "group": picture.path.stem,
            "height_px": picture.height_px, "width_px": picture.width_px,
        })  # fmt: skip
    dataset = CellDataset(classes=(CLASS,), images=tuple(LabelledPicture.model_validate(each) for each in images))
    path = folder / "dataset.json"
    path.write_text(dataset.model_dump_json())
    return path
