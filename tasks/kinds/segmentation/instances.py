"""What a model says of one picture: its cells, masks that share no pixel, surest first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Instances:
    """The cells of one picture.

    Attributes:
        height_px: Of the picture.
        width_px: Of the picture.
        masks: COCO's run lengths of the whole picture (`tasks.metrics.masks`), one text a cell. No two share a
            pixel: what two cells claim is the surer one's, so that any threshold on scores keeps them as they are.
        labels: int64 [n], the model's own index of the class.
        scores: float64 [n], in [0, 1], falling.
        boxes_px: float64 [n, 4], x1, y1, x2, y2 as the first stage found them.
        shown_from: The score from which on the model itself takes a cell for one; None: it does not say.
    """

    height_px: int
    width_px: int
    masks: tuple[str, ...]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    boxes_px: NDArray[np.float64]
    shown_from: float | None = None

    def __len__(self) -> int:
        """How many cells there are."""
        return len(self.masks)
