"""One detector out of several of the same architecture: the mean of their weights (Wortsman et al. 2022, model soups).

Trainings that began with the same weights and differ in their seed may lie in one basin, and their mean in its middle.
Those that began with different ones hardly do: their layers have their channels in different orders.

The statistics of batch normalisation belong to the weights that they were taken with: they are taken anew, from
training pictures as they are (Izmailov et al. 2018, arXiv:1803.05407, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tasks.training.ultralytics_loading import load_checkpoint

PICTURES, BATCH = 64, 8


def averaged(weights: Sequence[Path], pictures: Sequence[Path], imgsz: int, target: Path) -> Path:
    """Write the mean of some finished detectors.

    Args:
        weights: Their files.
        pictures: That they learned from; the first `PICTURES` are looked at.
        imgsz: Side that these are scaled to.
        target: Where to write it.
    """
    import torch

    held = [load_checkpoint(path) for path in weights]
    content, network = held[0], held[0]["model"].float()
    states = [each["model"].float().state_dict() for each in held]
    network.load_state_dict(
        {name: torch.stack([state[name] for state in states]).mean(0) if value.is_floating_point() else value
         for name, value in states[0].items()}
    )  # fmt: skip
    _statistics_anew(network, pictures[:PICTURES], imgsz)
    content["model"] = network.half().eval()
    torch.save(content, target)
    return target


def _statistics_anew(network: Any, pictures: Sequence[Path], imgsz: int) -> None:
    import torch
    from ultralytics.data.augment import LetterBox

    norms = [each for each in network.modules() if isinstance(each, torch.nn.BatchNorm2d)]
    momenta = [each.momentum for each in norms]
    for each in norms:
        each.reset_running_stats()
        each.momentum = None  # the mean over all batches
    network.train()
    scale = LetterBox((imgsz, imgsz))
    with torch.no_grad():
        for start in range(0, max(1, len(pictures) - BATCH + 1), BATCH):
            batch = [scale(image=cv2.imread(str(path))) for path in pictures[start : start + BATCH]]
            images = np.ascontiguousarray(np.stack(batch)[..., ::-1].transpose(0, 3, 1, 2))
            network(torch.from_numpy(images).float() / 255)
    for each, momentum in zip(norms, momenta, strict=True):
        each.momentum = momentum
