"""The pictures of one split, scaled to squares, and what is known of them. Used by the worker only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from tasks.errors import DataError
from tasks.kinds.classification.dataset import ImageDataset
from tasks.kinds.classification.inference import BATCH, squared
from tasks.kinds.classification.plan import TrainingPlan
from tasks.schemas import Split
from tasks.training.determinism import epoch_seed

_PRIME = 2_654_435_761
"""Knuth's multiplicative hash: neighbours draw unlike numbers."""


class Pictures(Dataset[Any]):  # type: ignore[misc]
    """Squares and targets of one split; each epoch's augmentation of a picture follows from (seed, epoch, picture).

    Args:
        data: Path of `dataset.json`.
        dataset: What it says.
        split: Which pictures.
        plan: Says their size, and whether they are kept in memory.
        augment: Applied to a square, uint8 [3, side, side]; None: nothing.
        seed: Of the training.
    """

    def __init__(
        self, data: Path, dataset: ImageDataset, split: Split, plan: TrainingPlan, *, augment: Any = None, seed: int = 0
    ) -> None:
        images = [image for image in dataset.images if image.split == split]
        self.paths = [data.parent / image.file for image in images]
        self.groups = [image.group for image in images]
        self.targets = targets_of(dataset, split)
        self.epoch = 0
        self._plan, self._augment, self._seed = plan, augment, seed
        self._kept: dict[int, torch.Tensor] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The square, uint8 [3, side, side], and its targets, float32 [classes], NaN where nobody said."""
        square = self.square(index)
        if self._augment is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed((epoch_seed(self._seed, self.epoch) * _PRIME + index) % 2**63)
                square = self._augment(square)
        return square, self.targets[index]

    def square(self, index: int) -> torch.Tensor:
        """The picture as it is, uint8 [3, side, side]."""
        if index in self._kept:
            return self._kept[index]
        square = torch.from_numpy(squared(read_picture(self.paths[index]), self._plan.imgsz, self._plan.fit))
        square = square.permute(2, 0, 1).contiguous()
        if self._plan.cache:
            self._kept[index] = square
        return square

    def batches(self, size: int = BATCH) -> Iterator[torch.Tensor]:
        """The pictures as they are, in order, uint8 [n, 3, side, side] each."""
        for start in range(0, len(self), size):
            yield torch.stack([self.square(index) for index in range(start, min(start + size, len(self)))])


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A picture, RGB uint8 [height, width, 3].

    Raises:
        DataError: It is not one.
    """
    found = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if found is None:
        raise DataError(f"picture {path.name}: cannot be read", expected="a picture that OpenCV opens", found=str(path))
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def targets_of(dataset: ImageDataset, split: Split) -> torch.Tensor:
    """What is known of a split's pictures, float32 [pictures, classes], NaN where nobody said."""
    rows = [image.targets for image in dataset.images if image.split == split]
    known = [[float("nan") if value is None else value for value in row] for row in rows]
    return torch.tensor(known, dtype=torch.float32).reshape(len(rows), len(dataset.classes))
