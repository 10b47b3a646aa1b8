"""The pictures of a split with their boxes, scaled and changed at random, from YOLO's layout on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from tasks.errors import DataError
from tasks.kinds.detection.anchored.plan import AnchoredPlan
from tasks.kinds.detection.dataset_view import images_below

Floats = npt.NDArray[np.float32]
_LEAST_SIDE_PX = 2.0
"""A box that is cut down to less is no object any more."""


@dataclass(frozen=True)
class Example:
    """A picture and its boxes.

    Attributes:
        image: BGR, uint8 [h, w, 3].
        boxes: x1, y1, x2, y2 in pixels, float32 [n, 4].
        labels: Classes, int64 [n].
    """

    image: npt.NDArray[np.uint8]
    boxes: Floats
    labels: npt.NDArray[np.int64]


class Split:
    """One split of a dataset as `layout` wrote it.

    Args:
        data_yaml: Its index.
        name: 'train' or 'val'.
    """

    def __init__(self, data_yaml: Path, name: str) -> None:
        said = yaml.safe_load(data_yaml.read_text())
        self.classes = [str(said["names"][index]) for index in sorted(said["names"])]
        self.images = images_below(Path(said["path"]), said[name])

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> Example:
        """A picture in its own size.

        Raises:
            DataError: It does not decode.
        """
        path = self.images[index]
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise DataError(f"{path}: does not decode", expected="a picture", fix="lay the dataset out again")
        rows = _rows(path)
        half, middle = rows[:, 3:5] / 2, rows[:, 1:3]
        size = np.array([image.shape[1], image.shape[0]] * 2, np.float32)
        boxes = np.concatenate([middle - half, middle + half], axis=1).astype(np.float32) * size
        return Example(np.asarray(image, np.uint8), boxes, rows[:, 0].astype(np.int64))

    def classes_of(self) -> list[list[int]]:
        """Of each picture the classes that are in it."""
        return [_rows(path)[:, 0].astype(int).tolist() for path in self.images]

    def sizes(self, side_px: int) -> npt.NDArray[np.float64]:
        """Width and height of every box of the split, its picture's longest side scaled to `side_px`; [n, 2]."""
        from PIL import Image

        found = []
        for path in self.images:
            with Image.open(path) as image:
                width, height = image.size
            scale = side_px / max(width, height)
            found.append(_rows(path)[:, 3:5] * np.array([width, height]) * scale)
        return np.concatenate([np.zeros((0, 2)), *found])


def _rows(image: Path) -> npt.NDArray[np.float64]:
    """What a picture's label file says: class, middle x, middle y, width, height; float64 [n, 5]."""
    above, _, below = str(image.with_suffix(".txt")).rpartition("/images/")
    label = Path(f"{above}/labels/{below}")
    lines = label.read_text().split() if label.is_file() else []
    return np.array(lines, np.float64).reshape(-1, 5)


def changed(example: Example, plan: AnchoredPlan, imgsz: int, rng: np.random.Generator) -> Example:
    """The example scaled into a square of `imgsz`, and changed as the plan says; black where the picture ends."""
    height, width = example.image.shape[:2]
    scale = imgsz / max(height, width) * (1 + rng.uniform(-plan.scale, plan.scale))
    shift = (imgsz - np.array([width, height]) * scale) / 2 + rng.uniform(-plan.translate, plan.translate, 2) * imgsz
    mirrored = np.array([rng.random() < plan.fliplr, rng.random() < plan.flipud])
    turn = np.where(mirrored, -1.0, 1.0)
    move = np.where(mirrored, imgsz - shift, shift)
    middle = move + scale * turn / 2 - 0.5  # OpenCV counts from the middle of the first pixel, boxes from its edge
    matrix = np.array([[scale * turn[0], 0, middle[0]], [0, scale * turn[1], middle[1]]])
    image = cv2.warpAffine(example.image, matrix, (imgsz, imgsz), flags=cv2.INTER_LINEAR)
    light = 1 + rng.uniform(-plan.hsv_v, plan.hsv_v)
    image = np.clip(image.astype(np.float32) * light, 0, 255).astype(np.uint8)
    corners = example.boxes.reshape(-1, 2, 2) * (scale * turn) + move
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    inside = np.clip(boxes, 0, imgsz)
    seen = (inside[:, 2:] - inside[:, :2]).min(axis=1, initial=np.inf) >= _LEAST_SIDE_PX
    return Example(image, inside[seen].astype(np.float32), example.labels[seen])


def tensors_of(examples: list[Example], device: str) -> tuple[list[Any], list[dict[str, Any]]]:
    """Examples as torchvision's detectors take them: RGB from 0 to 1."""
    import torch

    pictures = [
        torch.from_numpy(np.ascontiguousarray(each.image[:, :, ::-1])).to(device).permute(2, 0, 1).float() / 255
        for each in examples
    ]
    targets = [
        {"boxes": torch.from_numpy(each.boxes).to(device), "labels": torch.from_numpy(each.labels).to(device)}
        for each in examples
    ]
    return pictures, targets
