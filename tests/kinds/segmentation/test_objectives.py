"""Which boxes stage 2 learns to fill: true ones, then jittered ones, then those that the finder found, too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tasks.kinds.segmentation.networks.decoder import SIDE
from tasks.kinds.segmentation.networks.finder import Answers, places_of
from tasks.kinds.segmentation.plan import Stage2Plan, TrainingPlan
from tasks.kinds.segmentation.training.objectives import losses_of
from tasks.kinds.segmentation.training.targets import targets_of

TRUE = [[4.0, 8.0, 24.0, 20.0], [30.0, 40.0, 42.0, 60.0]]
FOUND = [[5.0, 9.0, 23.0, 21.0], [29.0, 39.0, 44.0, 62.0], [46.0, 2.0, 60.0, 14.0]]
"""On the first cell, on the second, and where there is none."""


class Recorded:
    """A network whose finder finds `FOUND`, the last of them as surely as the others; keeps what it is to fill."""

    def __init__(self) -> None:
        self.asked: torch.Tensor | None = None
        self.decoder = Decoder(self)

    def encode(self, pictures: torch.Tensor) -> dict[int, torch.Tensor]:
        return {4: torch.zeros(len(pictures), 1, 16, 16)}

    def finder(self, features: dict[int, torch.Tensor]) -> Answers:
        sure = torch.full((1, len(FOUND), 2), 4.0)
        return Answers(sure, sure, torch.tensor([FOUND]), places_of(1, len(FOUND), 4, torch.zeros(1)))


class Decoder:
    def __init__(self, network: Recorded) -> None:
        self.network = network

    def prepared(self, features: dict[int, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"4": features[4]}

    def __call__(self, shared: Any, boxes: torch.Tensor, pictures: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        self.network.asked = boxes
        return torch.zeros(len(boxes), SIDE, SIDE)


def asked_for(share: float, **stage2: Any) -> list[list[float]]:
    """The boxes that a step of stage 2 fills when such a share of its epochs is over, sorted."""
    image = np.zeros((64, 64), np.int32)
    image[8:20, 4:24], image[40:60, 30:42] = 1, 2
    network, plan = Recorded(), TrainingPlan(stage2=Stage2Plan(**stage2))
    generator = torch.Generator().manual_seed(0)
    parts = losses_of(network, "stage2", torch.zeros(1, 3, 64, 64), [targets_of(image, [0, 0])], plan, share, generator)
    assert all(torch.isfinite(value) for value in parts.values())
    assert network.asked is not None
    return sorted(network.asked.tolist())


def test_first_the_true_boxes() -> None:
    assert asked_for(0.0, true_share=0.2, predicted_share=0.5) == TRUE


def test_then_jittered_ones() -> None:
    boxes = np.asarray(asked_for(0.3, true_share=0.2, predicted_share=0.5, jitter=0.1))
    moved = np.abs(boxes - np.asarray(TRUE))
    assert boxes.shape == (2, 4) and moved.min() > 0
    assert (moved <= 0.1 * np.asarray([[20, 12, 20, 12], [12, 20, 12, 20]]) + 1e-4).all()


def test_then_those_that_the_finder_found_of_a_cell_too() -> None:
    boxes = asked_for(0.5, true_share=0.2, predicted_share=0.5)
    assert len(boxes) == 4 and [box for box in boxes if box in FOUND] == sorted(FOUND[:2])
    assert FOUND[2] not in boxes  # no cell lies there: no mask is wanted


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_share_of_none_never_learns_from_found_boxes(share: float) -> None:
    boxes = asked_for(share, true_share=1.0, predicted_share=0.0)
    assert boxes == TRUE
