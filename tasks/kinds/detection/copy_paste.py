"""Labelled objects of one frame, pasted into another. Ultralytics pastes outlines only, and boxes have none.

Used by workers only, within ultralytics' pipeline: everything random is drawn from `random`, which the trainer seeds
for each epoch.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_COVERED = 0.3
"""Share of an object already there, or of the pasted one, that may lie in the other; as ultralytics has it."""
TRIES = 10
"""Places that are tried for an object."""
_RIM = 0.1
"""Of half an object's sides: over twice as much it fades into the frame."""
_RING = 0.25
"""Of an object's longer side: so wide is what counts as its surroundings, of 2 pixels at least."""

Image = NDArray[np.uint8]
Boxes = NDArray[np.float32]


class CopyPaste:
    """Pastes a share of another frame's objects where they cover none of this one's.

    Args:
        dataset: Of ultralytics, that frames come from.
        share: Of the other frame's objects, from 0 to 1.
        only: The classes whose objects are pasted; the other frame is one that has some. None: all.
    """

    def __init__(self, dataset: Any, share: float, only: Collection[int] | None = None) -> None:
        self.dataset, self.share, self.only = dataset, share, only
        self._donors: list[int] | None = None
        if only is not None:
            self._donors = [index for index, each in enumerate(dataset.labels) if np.isin(each["cls"], [*only]).any()]

    def __call__(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Paste into one frame, as `dataset.get_image_and_label` gives it."""
        if self._donors is not None and not self._donors:
            return labels
        chosen = random.choice(self._donors) if self._donors else random.randrange(len(self.dataset))
        donor = self.dataset.get_image_and_label(chosen)
        image, boxes, classes = labels["img"].copy(), _boxes(labels), labels["cls"]
        theirs, their_classes = _boxes(donor), donor["cls"]
        for index in self._some(their_classes):
            at = _whole_px(theirs[index], donor["img"])
            width, height = at[2] - at[0], at[3] - at[1]
            place = _free_place(width, height, image, boxes)
            if place is None:
                continue
            left, top = place
            _paste(image, donor["img"][at[1] : at[3], at[0] : at[2]], left, top, _around(donor["img"], *at))
            boxes = np.concatenate([boxes, np.array([[left, top, left + width, top + height]], np.float32)])
            classes = np.concatenate([classes, their_classes[index : index + 1]])
        labels["img"], labels["cls"] = image, classes
        labels["instances"] = _instances(boxes)
        return labels

    def _some(self, classes: NDArray[np.float32]) -> list[int]:
        """Which of a frame's objects are pasted.

        Of few the share is rounded at random: a quarter of one object is one in four.
        """
        if self.only is None:
            return random.sample(range(len(classes)), round(self.share * len(classes)))
        wanted = np.flatnonzero(np.isin(classes.ravel(), [*self.only])).tolist()
        return random.sample(wanted, int(self.share * len(wanted) + random.random()))


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


def _whole_px(box: NDArray[np.float32], image: Image) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a box, in whole pixels of the image."""
    height, width = image.shape[:2]
    edges = np.clip(np.round(box), 0, [width, height, width, height]).astype(int)
    return edges[0], edges[1], edges[2], edges[3]


def _free_place(width: int, height: int, image: Image, boxes: Boxes) -> tuple[int, int] | None:
    """Left and top of a place where a box covers nothing that is labelled; None: none was found."""
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


def _paste(image: Image, patch: Image, left: int, top: int, ground: NDArray[np.float32]) -> None:
    """Lay a patch into the image, as bright as its new surroundings, its corners rounded and its rim fading.

    Args:
        image: Changed in place.
        patch: The object's pixels.
        left, top: Where.
        ground: What surrounded it where it came from, a value for each channel.
    """
    height, width = patch.shape[:2]
    moved = patch.astype(np.float32) + _around(image, left, top, left + width, top + height) - ground
    y, x = np.mgrid[:height, :width]
    from_centre = (((x + 0.5) / width * 2 - 1) ** 4 + ((y + 0.5) / height * 2 - 1) ** 4) ** 0.25
    opacity = np.clip((1 + _RIM - from_centre) / (2 * _RIM), 0, 1)[..., None]
    target = image[top : top + height, left : left + width]
    target[:] = np.clip(np.round(opacity * moved + (1 - opacity) * target), 0, 255).astype(np.uint8)


def _around(image: Image, left: int, top: int, right: int, bottom: int) -> NDArray[np.float32]:
    """What surrounds a box: the median of each channel over a ring; of the box itself where it fills the image."""
    margin = max(2, round(_RING * max(right - left, bottom - top)))
    outer = image[max(0, top - margin) : bottom + margin, max(0, left - margin) : right + margin]
    inside = np.zeros(outer.shape[:2], np.bool_)
    at_y, at_x = min(top, margin), min(left, margin)
    inside[at_y : at_y + bottom - top, at_x : at_x + right - left] = True
    median: NDArray[np.float32] = np.median(outer[inside if inside.all() else ~inside], axis=0).astype(np.float32)
    return median
