"""What a network should have said of a crop. Used by the worker only.

Sizes: b pictures of a batch, n cells of a picture, q places of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

LEAST_PX = 9
"""Area below which what a crop shows of a cell is not asked for."""
SAMPLES = 2
"""A mask's pixel is the mean of so many points along each side."""


@dataclass(frozen=True)
class CellTargets:
    """The cells of one crop.

    Attributes:
        boxes: x1, y1, x2, y2 in pixels, outer edges, float32 [n, 4].
        labels: int64 [n].
        numbers: Their numbers in the label image, int64 [n].
        label_image: int32 [height, width], 0 is ground.
    """

    boxes: torch.Tensor
    labels: torch.Tensor
    numbers: torch.Tensor
    label_image: torch.Tensor

    def __len__(self) -> int:
        """How many cells there are."""
        return len(self.boxes)

    def to(self, device: str) -> CellTargets:
        """The same on a device."""
        return CellTargets(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def targets_of(label_image: NDArray[np.int32], labels: Sequence[int]) -> CellTargets:
    """The cells of a crop of a label image; `labels[number - 1]` is the class of cell `number`."""
    from scipy.ndimage import find_objects

    areas = np.bincount(label_image.reshape(-1), minlength=1)
    boxes, numbers = [], []
    for number, place in enumerate(find_objects(label_image), 1):
        if place is not None and areas[number] >= LEAST_PX:
            rows, columns = place
            boxes.append([columns.start, rows.start, columns.stop, rows.stop])
            numbers.append(number)
    return CellTargets(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor([labels[number - 1] for number in numbers], dtype=torch.int64),
        torch.tensor(numbers, dtype=torch.int64),
        torch.from_numpy(np.ascontiguousarray(label_image, dtype=np.int32)),
    )


def heat_of(boxes: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """How near to each cell's centre each place is, [n, q]: a Gaussian as wide as the box (Liu et al. 2020, TTFNet).

    The nearest place of each cell has 1.
    """
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    spread = (sides / 6).clamp(min=2.0)
    apart = ((places[None] - centres[:, None]) / spread[:, None]).square().sum(-1)
    heat = (-apart / 2).exp()
    if len(boxes):
        heat[torch.arange(len(boxes)), apart.argmin(1)] = 1.0
    return heat


def mask_targets(cells: CellTargets, which: torch.Tensor, windows: torch.Tensor, side: int) -> torch.Tensor:
    """Which share of each point's surroundings is cell, float32 [k, side, side].

    Args:
        cells: Of the crop.
        which: Places in `cells`, int64 [k].
        windows: x1, y1, x2, y2 in pixels, int64 [k, 4].
        side: Of the grid.
    """
    height, width = cells.label_image.shape
    points = (torch.arange(side * SAMPLES, device=windows.device) + 0.5) / (side * SAMPLES)
    extent = (windows[:, 2:] - windows[:, :2]).float()
    x = (windows[:, 0, None] + extent[:, 0, None] * points).floor().long()
    y = (windows[:, 1, None] + extent[:, 1, None] * points).floor().long()
    seen = cells.label_image[y.clamp(0, height - 1)[:, :, None], x.clamp(0, width - 1)[:, None, :]]
    there = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    own = (seen == cells.numbers[which][:, None, None]) & there
    return own.float().reshape(len(which), side, SAMPLES, side, SAMPLES).mean((2, 4))
