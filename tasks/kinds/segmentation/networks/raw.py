"""What every network of the kind says of a tile, before cells are pasted into a picture."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class RawInstances:
    """The cells of one tile, surest first, masks each on a grid of their own.

    Attributes:
        boxes_px: float32 [n, 4], x1, y1, x2, y2 in the tile.
        scores: float32 [n], in [0, 1], falling.
        labels: int64 [n], the model's own index of the class.
        windows: int64 [n, 4], x1, y1, x2, y2 in the tile: where the grid lies; may reach beyond the tile.
        masks: float32 [n, S, S], chances over the window: bilinear to its size, above 0.5 is cell.
    """

    boxes_px: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor
    windows: torch.Tensor
    masks: torch.Tensor

    def __len__(self) -> int:
        """How many cells there are."""
        return len(self.scores)


def no_instances(side: int = 32) -> RawInstances:
    """Of a tile without cells."""
    long = torch.zeros(0, dtype=torch.int64)
    return RawInstances(torch.zeros(0, 4), torch.zeros(0), long, long.reshape(0, 4), torch.zeros(0, side, side))
