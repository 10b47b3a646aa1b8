"""Pictures as under a microscope, by albumentations. Imported by workers only, and only where a recipe asks for it.

Boxes are fitted again to what becomes of the ellipse that fills each one, because cells are round: the corners of a
square turned by 45 degrees would make it 1.4 times as wide. Albumentations itself does so when it turns pictures; when
it distorts them, it paints all boxes into one mask and reads them off again, in which the upper box bites a piece out
of the lower one, and which takes a tenth of a second. So that is done here, on points.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.training.microscope import STRENGTH, Microscope

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # read at its import, which would ask PyPI for a newer one
import albumentations as A  # everybody calls it so

FILL = 114
"""Grey level, in all channels, where the picture does not reach, as ultralytics has it."""
LEAST_SEEN = 0.1
"""Share of a box that must still be on the picture; as ultralytics has it."""
LEAST_SIDE_PX = 2.0
POINTS = 48
"""On an ellipse: its extremes are met to a five-hundredth of its half axes."""
_OTHER = 0x5BD1E995
ROUNDS = 8
"""Of the search for where a point went to; each halves its distance at least, as long as the picture does not fold."""

Image = NDArray[np.uint8]
Boxes = NDArray[np.float32]


class _BoxesByPoints:
    """Has a distortion of albumentations fit boxes on points instead of masks."""

    def apply_to_bboxes(self, bboxes: NDArray[Any], map_x: NDArray[Any], map_y: NDArray[Any], **params: Any) -> Any:
        """Boxes as shares of the picture's sides, with columns behind them that stay."""
        height, width = params["shape"][:2]
        scale = np.array([width, height, width, height], np.float32)
        fitted = bboxes.copy()
        fitted[:, :4] = refitted(bboxes[:, :4] * scale, map_x, map_y) / scale
        return fitted


class Optics(_BoxesByPoints, A.OpticalDistortion):  # type: ignore[misc]
    """An objective's distortion."""


class Grid(_BoxesByPoints, A.GridDistortion):  # type: ignore[misc]
    """Fields stretched and squeezed."""


class Elastic(_BoxesByPoints, A.ElasticTransform):  # type: ignore[misc]
    """A soft bending."""


def refitted(boxes: NDArray[Any], map_x: NDArray[Any], map_y: NDArray[Any]) -> NDArray[np.float32]:
    """Boxes around what becomes of the ellipses that fill them.

    Args:
        boxes: Corners in pixels, [n, 4].
        map_x, map_y: Of each pixel of the new picture, where in the old one it comes from; [height, width].

    Returns:
        Corners in pixels of the new picture, float32 [n, 4]; they may lie outside of it.
    """
    if not len(boxes):
        return boxes.astype(np.float32)
    angles = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    middle, half = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2, (boxes[:, None, 2:] - boxes[:, None, :2]) / 2
    # Boxes count from a pixel's edge, maps from its middle.
    was = (middle + half * np.stack([np.cos(angles), np.sin(angles)], axis=1) - 0.5).astype(np.float32)
    maps = np.dstack([map_x, map_y]).astype(np.float32)
    maps -= np.dstack(np.meshgrid(*(np.arange(side, dtype=np.float32) for side in maps.shape[1::-1])))
    now = was.copy()
    for _ in range(ROUNDS):
        moved_by = cv2.remap(maps, now[..., 0], now[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        now = was - moved_by.reshape(was.shape)
    found: NDArray[np.float32] = np.concatenate([now.min(axis=1), now.max(axis=1)], axis=1) + 0.5
    return found


def _spatial(plan: Microscope) -> list[Any]:
    by = plan[STRENGTH]
    edge = {"border_mode": cv2.BORDER_CONSTANT, "fill": (FILL,) * 3}
    makers: dict[str, Callable[[float], Any]] = {
        "rotate": lambda p: A.Rotate(limit=180, rotate_method="ellipse", p=p, **edge),
        "optics": lambda p: Optics(distort_limit=(-0.15 * by, 0.15 * by), p=p, **edge),
        "grid": lambda p: Grid(num_steps=5, distort_limit=(-0.15 * by, 0.15 * by), p=p, **edge),
        "elastic": lambda p: Elastic(alpha=400 * by, sigma=12, p=p, **edge),
    }
    return [make(plan[name]) for name, make in makers.items() if plan.get(name)]


def _of_pixels(plan: Microscope) -> list[Any]:
    by = plan[STRENGTH]
    widest = 2 * round(1 + by) + 1  # px of the blur's window, which is odd
    makers: dict[str, Callable[[float], Any]] = {
        "brightness": lambda p: A.RandomBrightnessContrast(0.12 * by, 0.2 * by, p=p),
        "hue": lambda p: A.HueSaturationValue(round(10 * by), round(20 * by), 0, p=p),
        "clahe": lambda p: A.CLAHE(clip_limit=(1.0, 1 + 2 * by), tile_grid_size=(8, 8), p=p),
        "noise": lambda p: A.GaussNoise(std_range=(0.01 * by, 0.04 * by), p=p),
        "iso_noise": lambda p: A.ISONoise(color_shift=(0.01, 0.01 + 0.03 * by), intensity=(0.1 * by, 0.3 * by), p=p),
        "blur": lambda p: A.GaussianBlur(blur_limit=(3, widest), p=p),
    }
    return [make(plan[name]) for name, make in makers.items() if plan.get(name)]


class MicroscopeEffects:
    """Changes a picture and its boxes.

    Args:
        plan: How often each thing happens, and how strongly.
    """

    def __init__(self, plan: Microscope) -> None:
        spatial, of_pixels = _spatial(plan), _of_pixels(plan)
        fitted = A.BboxParams(
            format="pascal_voc", label_fields=["rows"], clip=True, filter_invalid_bboxes=True,
            min_visibility=LEAST_SEEN, min_width=LEAST_SIDE_PX, min_height=LEAST_SIDE_PX,
        )  # fmt: skip
        self._spatial = A.Compose(spatial, bbox_params=fitted) if spatial else None
        self._of_pixels = A.Compose(of_pixels) if of_pixels else None

    def __call__(self, image: Image, boxes: Boxes, seed: int) -> tuple[Image, Boxes, NDArray[np.int64]]:
        """Change a picture.

        Args:
            image: uint8 [height, width, 3].
            boxes: Corners in pixels, float32 [n, 4].
            seed: What is drawn follows from it alone.

        Returns:
            The picture, of the same size; the boxes that are still on it; and which of the given ones these are.
        """
        rows: NDArray[np.int64] = np.arange(len(boxes))
        if self._spatial is not None:
            _seed(self._spatial, seed)
            changed = self._spatial(image=image, bboxes=boxes, rows=rows)
            image, rows = changed["image"], np.asarray(changed["rows"], np.int64)
            boxes = np.asarray(changed["bboxes"], np.float32).reshape(-1, 4)
        if self._of_pixels is not None:
            _seed(self._of_pixels, seed ^ _OTHER)
            image = self._of_pixels(image=image)["image"]
        return image, boxes, rows


def _seed(compose: Any, seed: int) -> None:
    """Seed each transform for itself.

    `Compose.set_random_seed` gives all the same: whatever happens one time in ten would happen only together with all
    that happens one time in five, at the same strength.
    """
    compose.set_random_seed(seed)
    for each, own in zip(compose.transforms, np.random.SeedSequence(seed).generate_state(16), strict=False):
        each.set_random_seed(int(own))


class MicroscopeOfLabels:
    """The same in ultralytics' pipeline, where everything random is drawn from `random`."""

    def __init__(self, plan: Microscope) -> None:
        self.plan, self._change = plan, MicroscopeEffects(plan)

    def __call__(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Change a picture as ultralytics' transforms hand it on."""
        seed = random.getrandbits(32)
        if labels["img"].shape[2] != 3:
            return labels
        height, width = labels["img"].shape[:2]
        instances = labels["instances"]
        instances.convert_bbox("xyxy")
        instances.denormalize(width, height)
        image, boxes, rows = self._change(labels["img"], instances.bboxes, seed)
        instances = instances[rows]
        instances.update(bboxes=boxes)
        return {**labels, "img": image, "cls": labels["cls"][rows], "instances": instances}
