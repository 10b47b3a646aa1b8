"""Labelled objects of one frame, pasted into another. Ultralytics pastes outlines only, and boxes have none.

Used by workers only, within ultralytics' pipeline: everything random is drawn from `random`, which the trainer seeds
for each epoch.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_COVERED = 0.3
"""Share of an object already there, or of the pasted one, that may lie in the other; as ultralytics has it."""
TRIES = 10
"""Places that are tried for an object."""
_RIM = 0.15
"""Of an object's sides: over such a margin it fades into the frame."""

Image = NDArray[np.uint8]
Boxes = NDArray[np.float32]


class CopyPaste:
    """Pastes a share of another frame's objects where they cover none of this one's.

    Args:
        dataset: Of ultralytics, that frames come from.
        share: Of the other frame's objects, from 0 to 1.
    """

    def __init__(self, dataset: Any, share: float) -> None:
        self.dataset, self.share = dataset, share

    def __call__(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Paste into one frame, as `dataset.get_image_and_label` gives it."""
        donor = self.dataset.get_image_and_label(random.randrange(len(self.dataset)))
        image, boxes, classes = labels["img"].copy(), _boxes(labels), labels["cls"]
        theirs, their_classes = _boxes(donor), donor["cls"]
        for index in random.sample(range(len(theirs)), round(self.share * len(theirs))):
            patch = _cut(donor["img"], theirs[index])
            place = _free_place(patch, image, boxes)
            if place is None:
                continue
            left, top = place
            height, width = patch.shape[:2]
            _paste(image, patch, left, top)
            boxes = np.concatenate([boxes, np.array([[left, top, left + width, top + height]], np.float32)])
            classes = np.concatenate([classes, their_classes[index : index + 1]])
        labels["img"], labels["cls"] = image, classes
        labels["instances"] = _instances(boxes)
        return labels


def _boxes(labels: dict[str, Any]) -> Boxes:
    """Corners in pixels, float32 [n, 4] of left, top, right, bottom."""
    height, width = labels["img"].shape[:2]
    instances = labels["instances"]
    instances.convert_bbox(format="xyxy")
    instances.denormalize(width, height)
    boxes: Boxes = instances.bboxes.astype(np.float32)
    return boxes


def _instances(boxes: Boxes) -> Any:
    from ultralytics.utils.instance import Instances

    return Instances(boxes, np.zeros((0, 1000, 2), np.float32), None, bbox_format="xyxy", normalized=False)


def _cut(image: Image, box: NDArray[np.float32]) -> Image:
    """An object's pixels [height, width, channels]; empty where its box is thinner than a pixel."""
    left, top = np.maximum(np.round(box[:2]), 0).astype(int)
    right, bottom = np.round(box[2:]).astype(int)
    return image[top:bottom, left:right]


def _free_place(patch: Image, image: Image, boxes: Boxes) -> tuple[int, int] | None:
    """Left and top of a place where the patch covers nothing that is labelled; None: none was found."""
    height, width = patch.shape[:2]
    room_x, room_y = image.shape[1] - width, image.shape[0] - height
    if min(height, width, room_x + 1, room_y + 1) < 1:
        return None
    for _ in range(TRIES):
        left, top = random.randint(0, room_x), random.randint(0, room_y)
        if not len(boxes) or _covered(np.array([left, top, left + width, top + height]), boxes) < MOST_COVERED:
            return left, top
    return None


def _covered(box: NDArray[Any], boxes: Boxes) -> float:
    """The largest share of either of two boxes that lies in the other."""
    corner, other = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.clip(other - corner, 0, None).prod(axis=1)
    areas = np.minimum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), (box[2:] - box[:2]).prod())
    return float((shared / np.maximum(areas, 1e-9)).max())


def _paste(image: Image, patch: Image, left: int, top: int) -> None:
    """Lay an ellipse of the patch into the image, as bright as its surroundings there, and fading at its rim."""
    height, width = patch.shape[:2]
    target = image[top : top + height, left : left + width]
    moved = patch.astype(np.float32) + (_rim(target) - _rim(patch))
    y, x = np.mgrid[:height, :width]
    from_centre = np.hypot((x + 0.5) / width * 2 - 1, (y + 0.5) / height * 2 - 1)
    opacity = np.clip((1 + _RIM - from_centre) / (2 * _RIM), 0, 1)[..., None]
    target[:] = np.clip(np.round(opacity * moved + (1 - opacity) * target), 0, 255).astype(np.uint8)


def _rim(patch: Image) -> NDArray[np.float32]:
    """What a patch is like along its edges: the median of each channel."""
    edges = np.concatenate([patch[0], patch[-1], patch[:, 0], patch[:, -1]])
    median: NDArray[np.float32] = np.median(edges, axis=0).astype(np.float32)
    return median
