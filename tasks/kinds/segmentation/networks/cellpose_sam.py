"""Cellpose-SAM (Pachitariu et al. 2025) in the form of our networks: its flows, followed as its package follows them.

A cell's score is the mean chance of its pixels. Its package is asked for the network, the tiling into 256 pixels and
the dynamics (Stringer et al. 2021, "Cellpose", Nature Methods 18:100); it downloads nothing in what is called here.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tasks.kinds.segmentation.networks.raw import RawInstances, no_instances

TILE = 256
"""Side that the network was made for."""
GRID_STEP, LEAST_GRID, MOST_GRID = 16, 16, 128
"""A mask's grid is a window of as many pixels, so that nothing is resampled; only larger cells are."""


class CellposeSam(nn.Module):  # type: ignore[misc]
    """Cellpose's network and dynamics. It has no `fill`: it has no stage that takes boxes.

    Args:
        flow_threshold, cellprob_threshold, min_size, iterations: As cellpose means them.
    """

    def __init__(self, flow_threshold: float, cellprob_threshold: float, min_size: int, iterations: int) -> None:
        super().__init__()
        from cellpose.vit import CPSAM  # type: ignore[import-untyped]

        self.net = CPSAM(dtype=torch.float32)
        self.flow_threshold, self.cellprob_threshold = flow_threshold, cellprob_threshold
        self.min_size, self.iterations = min_size, iterations

    def encode(self, tiles: torch.Tensor) -> list[NDArray[np.float32]]:
        """Flows y, x and logits of each tile: [H, W, 3]."""
        from cellpose.core import run_net  # type: ignore[import-untyped]

        pictures = (as_cellpose(tile.permute(1, 2, 0).cpu().numpy()) for tile in tiles)
        return [np.asarray(run_net(self.net, each[None], bsize=TILE)[0], np.float32)[0] for each in pictures]

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def raw_instances(self, tiles: torch.Tensor, min_score: float) -> list[RawInstances]:
        """The cells of prepared tiles [b, 3, H, W] that score at least `min_score`; H and W multiples of 32."""
        return [self.cells_of(flows, min_score, tiles.device) for flows in self.encode(tiles)]

    def cells_of(self, flows: NDArray[np.float32], min_score: float, device: torch.device) -> RawInstances:
        """The cells that flows y, x and logits [H, W, 3] lead to."""
        from cellpose.dynamics import resize_and_compute_masks  # type: ignore[import-untyped]

        labels = resize_and_compute_masks(
            np.ascontiguousarray(flows[..., :2].transpose(2, 0, 1)), flows[..., 2], niter=self.iterations,
            cellprob_threshold=self.cellprob_threshold, flow_threshold=self.flow_threshold, min_size=self.min_size,
            device=device,
        )  # fmt: skip
        return instances_of(np.asarray(labels).astype(np.int32), flows[..., 2], min_score)


def build(spec: dict[str, Any]) -> CellposeSam:
    """The network that a spec describes, with fresh weights.

    Raises:
        ImportError: Cellpose is not installed.
    """
    network = CellposeSam(
        float(spec["flow_threshold"]), float(spec["cellprob_threshold"]), int(spec["min_size"]), int(spec["iterations"])
    )
    network.eval()
    return network


def as_cellpose(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """A prepared picture [h, w, 3] as cellpose is shown it: what is grey stands in the first channel alone."""
    out = np.array(picture, np.float32)
    if (out == out[..., :1]).all():
        out[..., 1:] = 0
    return out


def instances_of(labels: NDArray[np.int32], logits: NDArray[np.float32], min_score: float) -> RawInstances:
    """The cells of a label image [H, W], on grids; each scores the mean chance of its pixels."""
    from scipy.ndimage import find_objects

    found = [(number, place) for number, place in enumerate(find_objects(labels), 1) if place is not None]
    chances = 1 / (1 + np.exp(-logits.astype(np.float64)))
    scored = [(float(chances[place][labels[place] == number].mean()), number, place) for number, place in found]
    scored = sorted((each for each in scored if each[0] >= min_score), key=lambda each: (-each[0], each[1]))
    if not scored:
        return no_instances(LEAST_GRID)
    longest = max(max(y.stop - y.start, x.stop - x.start) for _, _, (y, x) in scored)
    side = min(MOST_GRID, max(LEAST_GRID, -(-longest // GRID_STEP) * GRID_STEP))
    masks, windows, boxes = [], [], []
    for _, number, (y, x) in scored:
        high, wide = max(side, y.stop - y.start), max(side, x.stop - x.start)
        mask = torch.zeros(high, wide)
        mask[: y.stop - y.start, : x.stop - x.start] = torch.from_numpy(labels[y, x] == number).float()
        if (high, wide) != (side, side):
            mask = nn.functional.interpolate(mask[None, None], (side, side), mode="area")[0, 0]
        masks.append(mask)
        windows.append((x.start, y.start, x.start + wide, y.start + high))
        boxes.append((x.start, y.start, x.stop, y.stop))
    scores = torch.tensor([score for score, _, _ in scored], dtype=torch.float32)
    return RawInstances(
        torch.tensor(boxes, dtype=torch.float32), scores, torch.zeros(len(scores), dtype=torch.int64),
        torch.tensor(windows, dtype=torch.int64), torch.stack(masks),
    )  # fmt: skip
