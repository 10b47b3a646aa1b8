"""Public sets of boxes for `bench_detectors`, read as their authors published them, and parted by recording.

`miamia-svds`: clips of sperm with a Pascal VOC file for each frame; a fold for each clip. `bccd`: pictures of blood
with Pascal VOC files and an official split, which is the one fold. `hc18-fetal-head`: ultrasound with one head each;
folds by picture, since the sample has one picture of nearly every examination (its SOURCE.md).
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import yaml

from tasks.kind import LabelFile
from tasks.kinds.detection.formats import voc
from tasks.kinds.detection.layout import label_text
from tasks.metrics.boxes import Boxes

Object = dict[str, Any]
VOC_FOLDERS = ("annotations_voc", "Annotations")


@dataclass(frozen=True)
class BoxedPicture:
    """A picture and its labelled boxes, as a manifest has them (`x_px`, `y_px`, `width_px`, `height_px`, `label`)."""

    path: Path
    group: str
    objects: tuple[Object, ...]
    width_px: int
    height_px: int


@dataclass(frozen=True)
class BoxedSet:
    """A set: its classes, its pictures, and for each fold the places of its test pictures; the rest is learned from."""

    classes: tuple[str, ...]
    pictures: tuple[BoxedPicture, ...]
    folds: tuple[tuple[int, ...], ...]


def read_set(folder: Path, scratch: Path, folds: int, seed: int) -> BoxedSet:
    """Read one of the three, told apart by what lies in the folder.

    Args:
        folder: As published.
        scratch: Frames of clips are written here.
        folds: How many, where the set itself does not say; pictures are drawn by `seed`.
        seed: Of the draw.
    """
    if (folder / "videos").is_dir():
        pictures = _clips(folder, scratch)
        groups = sorted({picture.group for picture in pictures})
        parts = [[i for i, picture in enumerate(pictures) if picture.group == group] for group in groups]
    elif (folder / "ImageSets").is_dir():
        pictures = _voc_pictures(folder)
        test = set((folder / "ImageSets" / "Main" / "val.txt").read_text().split())
        parts = [[i for i, picture in enumerate(pictures) if picture.path.stem in test]]
    else:
        pictures = _heads(folder)
        order = np.random.default_rng(seed).permutation(len(pictures))
        parts = [sorted(part.tolist()) for part in np.array_split(order, folds)]
    classes = sorted({each["label"] for picture in pictures for each in picture.objects})
    return BoxedSet(tuple(classes), tuple(pictures), tuple(tuple(part) for part in parts))


def write_yolo(folder: Path, boxed: BoxedSet, test: Sequence[int]) -> Path:
    """Lay all but the test pictures out as the trainer wants them; the path of `data.yaml`."""
    for kind in ("images", "labels"):
        (folder / kind / "train").mkdir(parents=True)
    for place in sorted(set(range(len(boxed.pictures))) - set(test)):
        picture = boxed.pictures[place]
        (folder / "images/train" / picture.path.name).symlink_to(picture.path.resolve())
        text = label_text(picture.objects, boxed.classes, picture.width_px, picture.height_px)
        (folder / "labels/train" / f"{picture.path.stem}.txt").write_text(text)
    names = dict(enumerate(boxed.classes))
    index = {"path": str(folder), "train": "images/train", "val": "images/train", "names": names}
    (folder / "data.yaml").write_text(yaml.safe_dump(index))
    return folder / "data.yaml"


def boxes_of(boxed: BoxedSet, places: Sequence[int]) -> Boxes:
    """The labelled boxes of some pictures, numbered in their order."""
    rows = [(n, each) for n, place in enumerate(places) for each in boxed.pictures[place].objects]
    sides = ("x_px", "y_px", "width_px", "height_px")
    return Boxes.of(
        [n for n, _ in rows], [boxed.classes.index(each["label"]) for _, each in rows],
        [[each[side] for side in sides] for _, each in rows],
    )  # fmt: skip


def _labels(folder: Path) -> dict[str, LabelFile]:
    """Name of the picture -> its label file."""
    found = next(folder / name for name in VOC_FOLDERS if (folder / name).is_dir())
    return {each.image: each for each in voc.read(found) if isinstance(each, LabelFile)}


def _objects(file: LabelFile) -> tuple[Object, ...]:
    return tuple(
        {"label": each.label, "x_px": each.x, "y_px": each.y, "width_px": each.width, "height_px": each.height}
        for each in file.objects if each.width > 0 and each.height > 0
    )  # fmt: skip


def _clips(folder: Path, scratch: Path) -> list[BoxedPicture]:
    labels, pictures = _labels(folder), []
    scratch.mkdir(parents=True, exist_ok=True)
    for path in sorted((folder / "videos").glob("*.mp4")):
        with av.open(str(path)) as source:
            for number, frame in enumerate(source.decode(video=0), 1):
                name = f"{path.stem}_{number:04d}"
                if name not in labels:
                    continue
                cv2.imwrite(str(scratch / f"{name}.png"), frame.to_ndarray(format="bgr24"))
                objects = _objects(labels[name])
                pictures.append(BoxedPicture(scratch / f"{name}.png", path.stem, objects, frame.width, frame.height))
    return pictures


def _voc_pictures(folder: Path) -> list[BoxedPicture]:
    pictures = []
    for name, file in sorted(_labels(folder).items()):
        path = folder / "JPEGImages" / f"{name}.jpg"
        height, width = _size(path)
        pictures.append(BoxedPicture(path, name, _objects(file), width, height))
    return pictures


def _heads(folder: Path) -> list[BoxedPicture]:
    pictures = []
    with (folder / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            left, top, right, bottom = (float(row[edge]) for edge in ("xmin", "ymin", "xmax", "ymax"))
            head = {"label": "head", "x_px": left, "y_px": top, "width_px": right - left, "height_px": bottom - top}
            path = folder / "images" / row["file"]
            height, width = _size(path)
            pictures.append(BoxedPicture(path, path.stem, (head,), width, height))
    return pictures


def _size(path: Path) -> tuple[int, int]:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise SystemExit(f"{path}: is no picture")
    return image.shape[0], image.shape[1]
