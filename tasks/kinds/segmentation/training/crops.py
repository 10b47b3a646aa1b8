"""The pictures of one split, prepared, and crops of them to learn from. Used by the worker only."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.kind import Object
from tasks.kinds.segmentation.augmentation import augment
from tasks.kinds.segmentation.dataset import CellDataset
from tasks.kinds.segmentation.objects import label_image
from tasks.kinds.segmentation.pictures import prepare, scaled, scaled_labels
from tasks.kinds.segmentation.plan import AugmentationPlan, InputPlan
from tasks.kinds.segmentation.training.targets import CellTargets, targets_of
from tasks.schemas import Split
from tasks.training.determinism import epoch_seed

_PLAIN = AugmentationPlan(on=False)
LEAST_FREE = 0.25
"""Share of the machine's memory that kept pictures leave to others: a picture of 2,000 x 2,000 pixels takes 64 MB."""


class Prepared(NamedTuple):
    """A picture as the network is shown it, [h, w, 3], its cells [h, w] in the same pixels, and their classes."""

    picture: NDArray[np.float32]
    cells: NDArray[np.int32]
    labels: tuple[int, ...]


class Crops:
    """Crops of one split; what a crop shows follows from (seed, epoch, picture).

    Args:
        data: Path of `dataset.json`.
        split: Which pictures.
        how: Pictures are prepared.
        cache: Keep prepared pictures in memory, as long as a quarter of it stays free.
        seed: Of the training.
    """

    def __init__(self, data: Path, split: Split, how: InputPlan, *, cache: bool, seed: int) -> None:
        self.dataset = CellDataset.read(data)
        self.images = [image for image in self.dataset.images if image.split == split]
        self._root, self._how, self._cache, self._seed = data.parent, how, cache, seed
        self._kept: dict[int, Prepared] = {}

    def __len__(self) -> int:
        return len(self.images)

    def prepared(self, index: int) -> Prepared:
        """A whole picture, prepared and scaled, and its cells.

        Raises:
            DataError: It cannot be read.
        """
        if index in self._kept:
            return self._kept[index]
        image = self.images[index]
        objects = self.objects(index)
        picture = scaled(prepare(self.raw(index), self._how), self._how.scale)
        cells = scaled_labels(label_image(objects, image.height_px, image.width_px), self._how.scale)
        found = Prepared(picture, cells, tuple(self.dataset.classes.index(item["label"]) for item in objects))
        if self._cache and _has_room():
            self._kept[index] = found
        return found

    def raw(self, index: int) -> NDArray[np.generic]:
        """A picture as evaluation is shown it: as it was taken, or its frame where that shows all of it."""
        return self.dataset.picture(self._root, self.images[index])

    def objects(self, index: int) -> list[Object]:
        """The cells of a picture."""
        return self.dataset.objects(self._root, self.images[index])

    def batch(
        self, indices: list[int], plan: AugmentationPlan, epoch: int, first: int
    ) -> tuple[torch.Tensor, list[CellTargets]]:
        """Crops [b, 3, imgsz, imgsz] of pictures, and what they show.

        Args:
            indices: Which pictures.
            plan: How crops are varied.
            epoch: Over all stages.
            first: Place of the first of them in the epoch: the same picture twice gives two crops.
        """
        pictures, targets = [], []
        for place, index in enumerate(indices, first):
            rng = np.random.default_rng([epoch_seed(self._seed, epoch), place, index])
            picture, cells, labels = self.prepared(index)
            crop, shown = augment(picture, cells, plan, rng, self._how.imgsz)
            pictures.append(torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))))
            targets.append(targets_of(shown, labels))
        return torch.stack(pictures).contiguous(memory_format=torch.channels_last), targets

    def middle(self, index: int) -> tuple[torch.Tensor, CellTargets]:
        """The crop in the middle of a picture, as it is: what a finder alone is measured on."""
        side = self._how.imgsz
        picture, cells, labels = self.prepared(index)
        top, left = (max(0, (length - side) // 2) for length in cells.shape)
        rng = np.random.default_rng(0)  # has nothing to decide
        part = slice(top, top + side), slice(left, left + side)
        shown, numbers = augment(picture[part], cells[part], _PLAIN, rng, side)
        return torch.from_numpy(np.ascontiguousarray(shown.transpose(2, 0, 1)))[None], targets_of(numbers, labels)


def _has_room() -> bool:
    import psutil

    memory = psutil.virtual_memory()
    return bool(memory.available > LEAST_FREE * memory.total)
