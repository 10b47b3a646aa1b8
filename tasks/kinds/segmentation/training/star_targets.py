"""What a star-convex head should have said of a crop, as StarDist has it. Used by the worker only."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.kinds.segmentation.networks.star_convex import RAYS
from tasks.kinds.segmentation.training.targets import CellTargets

_STEP_PX = 0.5


def chances_of(label_image: NDArray[np.int32]) -> NDArray[np.float32]:
    """How deep in its cell each pixel is, 1 at the deepest, 0 on the ground, [height, width]."""
    from scipy.ndimage import distance_transform_edt, find_objects

    out = np.zeros(label_image.shape, np.float32)
    for number, place in enumerate(find_objects(label_image), 1):
        if place is None:
            continue
        own = np.pad(label_image[place] == number, 1)
        depth = distance_transform_edt(own)[1:-1, 1:-1]
        part = out[place]
        part[own[1:-1, 1:-1]] = (depth / max(depth.max(), 1e-6))[own[1:-1, 1:-1]]
    return out


def rays_of(label_image: NDArray[np.int32], y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float32]:
    """How far the cell reaches from each of k points in it in each direction, in pixels, [k, RAYS].

    Points are counted from the crop's corner: a pixel's middle is at its number and a half. Steps of half a pixel
    along the ray until the label is another, or the crop ends.
    """
    angles = np.arange(RAYS) * (2 * np.pi / RAYS)
    own = label_image[np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)]
    reach = np.zeros((len(y), RAYS), np.float32)
    going = np.ones((len(y), RAYS), bool)
    height, width = label_image.shape
    distance = 0.0
    while going.any():
        distance += _STEP_PX
        at, way = np.nonzero(going)
        rows = np.floor(y[at] + distance * np.sin(angles[way])).astype(np.int64)
        columns = np.floor(x[at] + distance * np.cos(angles[way])).astype(np.int64)
        there = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        there[there] = label_image[rows[there], columns[there]] == own[at[there]]
        reach[at[there], way[there]] = distance + _STEP_PX / 2  # the edge is within the next step
        going[at[~there], way[~there]] = False
    return np.maximum(reach, _STEP_PX)


def star_targets(cells: CellTargets, classes: int, stride: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Chances [classes, h, w], rays [RAYS, h, w] and where they count [h, w] of a map of that stride."""
    label_image = cells.label_image.cpu().numpy()
    depth = chances_of(label_image)
    middle = slice(stride // 2, None, stride)
    seen, chance = label_image[middle, middle], depth[middle, middle]
    known = np.isin(seen, cells.numbers.cpu().numpy())
    chance = np.where(known, chance, 0).astype(np.float32)
    label_of = np.zeros(int(label_image.max()) + 1, np.int64)
    label_of[cells.numbers.cpu().numpy()] = cells.labels.cpu().numpy()
    chances = np.zeros((classes, *seen.shape), np.float32)
    np.put_along_axis(chances, label_of[seen][None], chance[None], 0)
    rays = np.zeros((RAYS, *seen.shape), np.float32)
    rows, columns = np.nonzero(known)
    y, x = ((np.asarray(places, dtype=np.float64) + 0.5) * stride for places in (rows, columns))  # as `places_of`
    rays[:, rows, columns] = rays_of(label_image, y, x).T
    return torch.from_numpy(chances), torch.from_numpy(rays), torch.from_numpy(chance)
