"""What a picture of cells may look like as well: turned, scaled, brighter, blurred, stained otherwise.

Everything follows from the generator that is given: the same seed gives the same picture. Label images are warped with
the nearest neighbour, so that no number appears that was not there. What a turn leaves free shows the picture's median
colour, mostly ground, and no cell.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.kinds.segmentation.pictures import ground_of
from tasks.kinds.segmentation.plan import AugmentationPlan
from tasks.kinds.segmentation.stain import varied

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]

_NOTHING = AugmentationPlan(
    on=False, flip=False, turn=False, degrees=0, scale=0, brightness=0, contrast=0, gamma=0, blur=0, noise=0, stain=0,
    invert=0,
)  # fmt: skip


def augment(
    picture: Floats, label_image: Labels, plan: AugmentationPlan, rng: np.random.Generator, imgsz: int
) -> tuple[Floats, Labels]:
    """A random crop of a picture, varied.

    Args:
        picture: As `pictures.prepare` and `pictures.scaled` give it, [h, w, 3].
        label_image: [h, w]: 0 the ground, else a cell's number. Cells may be cut or fall outside of the crop.
        plan: How far; not `on`: it is only cropped.
        rng: All chance comes from it.
        imgsz: Side of the crop; what a smaller picture leaves free is ground.

    Returns:
        float32 [imgsz, imgsz, 3] and int32 [imgsz, imgsz].

    Raises:
        ValueError: The label image has another size than the picture.
    """
    if picture.shape[:2] != label_image.shape:
        raise ValueError(f"a picture of {picture.shape[:2]} and labels of {label_image.shape} do not belong together")
    plan = plan if plan.on else _NOTHING
    picture, label_image = _warped_crop(picture, label_image, plan, rng, imgsz)
    picture, label_image = _turned(picture, label_image, plan, rng)
    return np.ascontiguousarray(_lit_otherwise(picture, plan, rng)), np.ascontiguousarray(label_image)


def _warped_crop(
    picture: Floats, label_image: Labels, plan: AugmentationPlan, rng: np.random.Generator, side: int
) -> tuple[Floats, Labels]:
    """A crop, turned and scaled freely around its centre."""
    height, width = label_image.shape
    angle = rng.uniform(-plan.degrees, plan.degrees) if plan.degrees else 0.0
    reach = np.log1p(plan.scale)
    scale = float(np.exp(rng.uniform(-reach, reach))) if plan.scale else 1.0
    seen = side / scale  # pixels of the picture that the crop covers
    x, y = (_start(length, seen, rng) for length in (width, height))
    ground = tuple(float(value) for value in ground_of(picture))
    if angle == 0 and scale == 1:
        return _cut(picture, label_image, round(x), round(y), side, ground)
    warp = cv2.getRotationMatrix2D((x + seen / 2 - 0.5, y + seen / 2 - 0.5), angle, scale)
    warp[:, 2] += side / 2 - 0.5 - np.array([x + seen / 2 - 0.5, y + seen / 2 - 0.5])
    size = (side, side)
    shown = cv2.warpAffine(
        picture, warp, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=ground
    )
    # OpenCV warps no int32; float32 holds every number up to 2**24 exactly
    cells = cv2.warpAffine(label_image.astype(np.float32), warp, size, flags=cv2.INTER_NEAREST, borderValue=0)
    return np.asarray(shown, dtype=np.float32), np.asarray(cells).astype(np.int32)


def _start(length: int, seen: float, rng: np.random.Generator) -> float:
    """Where a crop begins along a side: anywhere inside; of a shorter picture, anywhere around it."""
    low, high = sorted((0.0, length - seen))
    return float(rng.uniform(low, high)) if high > low else low


def _cut(
    picture: Floats, label_image: Labels, x: int, y: int, side: int, ground: tuple[float, ...]
) -> tuple[Floats, Labels]:
    """A crop, pixel for pixel; x and y may be negative."""
    shown = np.empty((side, side, 3), np.float32)
    shown[:] = ground
    cells = np.zeros((side, side), np.int32)
    there = slice(max(0, -y), side), slice(max(0, -x), side)
    here = slice(max(0, y), max(0, y + side)), slice(max(0, x), max(0, x + side))
    part = label_image[here]
    there = slice(there[0].start, there[0].start + part.shape[0]), slice(there[1].start, there[1].start + part.shape[1])
    cells[there], shown[there] = part, picture[here]
    return shown, cells


def _turned(
    picture: Floats, label_image: Labels, plan: AugmentationPlan, rng: np.random.Generator
) -> tuple[Floats, Labels]:
    quarters, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    if plan.turn:
        picture, label_image = np.rot90(picture, quarters), np.rot90(label_image, quarters)
    if plan.flip and mirrored:
        picture, label_image = picture[:, ::-1], label_image[:, ::-1]
    return picture, label_image


def _lit_otherwise(picture: Floats, plan: AugmentationPlan, rng: np.random.Generator) -> Floats:
    """Stain, inversion, gamma, contrast and brightness, blur, noise, in this order."""
    if plan.stain:
        picture = varied(picture, plan.stain, rng)
    if plan.invert and rng.random() < plan.invert:
        picture = np.maximum(1 - picture, 0)
    if plan.gamma:
        picture = np.power(np.maximum(picture, 0), np.float32(np.exp(rng.uniform(-plan.gamma, plan.gamma))))
    if plan.contrast or plan.brightness:
        mean = picture.mean(dtype=np.float64)
        factor, shift = 1 + rng.uniform(-plan.contrast, plan.contrast), rng.uniform(-plan.brightness, plan.brightness)
        picture = (picture - np.float32(mean)) * np.float32(factor) + np.float32(mean + shift)
    if plan.blur and rng.random() < plan.blur:
        picture = np.asarray(cv2.GaussianBlur(np.ascontiguousarray(picture), (0, 0), rng.uniform(0.3, 1.5)))
    if plan.noise:
        deviation = rng.uniform(0, plan.noise)
        picture = picture + rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(deviation)
    return np.asarray(picture, dtype=np.float32)
