"""Pictures of a training: crops as they are learned from, and predictions beside labels. Used by the worker only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from tasks.kinds.segmentation.inference.predict import predict_picture
from tasks.kinds.segmentation.objects import label_image
from tasks.kinds.segmentation.training.crops import Crops
from tasks.kinds.segmentation.training.measure import in_use
from tasks.kinds.segmentation.training.setup import Setup
from tasks.metrics.segmentation_outlines import painted
from tasks.training.contact_sheet import small_jpeg

SHOWN = 12
PREDICTED = 6
_SIDE_PX = 256
_LABEL, _PREDICTED, _BOX = (80, 220, 80), (255, 200, 0), (90, 160, 255)
Colours = NDArray[np.uint8]


def augmented(path: Path, setup: Setup, crops: Crops) -> Path:
    """Crops of the first epoch with their cells' outlines: whoever looks sees at once what augmentation does."""
    indices = list(range(min(SHOWN, len(crops))))
    pictures, targets = crops.batch(indices, setup.plan.augmentation, 0, 0)
    shown = [
        _outlined(_colours(picture.permute(1, 2, 0).numpy()), cells.label_image.numpy(), _LABEL)
        for picture, cells in zip(pictures, targets, strict=True)
    ]
    return _written(path, [_squared(each) for each in shown], columns=4)


def predicted(path: Path, setup: Setup, network: Any, spec: dict[str, Any], crops: Crops) -> Path:
    """Pictures of a split: labels on the left; boxes of the first stage and masks on the right."""
    shown = []
    for index, image in list(enumerate(crops.images))[:PREDICTED]:
        with in_use(network):
            found = predict_picture(network, spec, crops.raw(index), device=setup.device)
        picture = cv2.resize(_colours(crops.prepared(index).picture), (image.width_px, image.height_px))
        truth = label_image(crops.objects(index), image.height_px, image.width_px)
        boxed = _outlined(picture, painted(found.masks, *truth.shape), _PREDICTED)
        for x1, y1, x2, y2 in found.boxes_px.round().astype(int).tolist():
            cv2.rectangle(boxed, (x1, y1), (x2, y2), _BOX, 1)
        shown += [_squared(_outlined(picture, truth, _LABEL)), _squared(boxed)]
    return _written(path, shown, columns=4)


def as_jpeg(path: Path) -> Path:
    """A sheet beside itself, as the report of a verdict takes it."""
    from PIL import Image

    target = path.with_suffix(".jpg")
    with Image.open(path) as sheet:
        target.write_bytes(small_jpeg(sheet.convert("RGB")))
    return target


def _colours(picture: NDArray[np.float32]) -> Colours:
    return np.ascontiguousarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))


def _outlined(picture: Colours, cells: NDArray[np.int32], colour: tuple[int, int, int]) -> Colours:
    from skimage.segmentation import find_boundaries

    out = picture.copy()
    out[find_boundaries(cells, mode="inner")] = colour
    return out


def _squared(picture: Colours) -> Colours:
    side = max(picture.shape[:2])
    square = np.zeros((side, side, 3), np.uint8)
    square[: picture.shape[0], : picture.shape[1]] = picture
    return np.asarray(cv2.resize(square, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _written(path: Path, squares: list[Colours], columns: int) -> Path:
    from torchvision.utils import make_grid, save_image

    stacked = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float() / 255
    save_image(make_grid(stacked, nrow=columns), path)
    return path
