"""The training of a denoiser: on a CPU, in minutes; the same plan and pairs give the same weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional

from tasks.denoising.pairs import Pair
from tasks.denoising.speckle_unet import LEVELS, WIDTHS, SpeckleUNet, build
from tasks.errors import DataError
from tasks.schemas import Frozen

_LARGEST_STEP = 1.0
"""Norm of the gradient that a step is cut down to."""


class DenoisingPlan(Frozen):
    """How a denoiser learns."""

    width: int = Field(default=16, ge=WIDTHS[0], le=WIDTHS[1], description="Channels of the first level.")
    levels: int = Field(default=2, ge=LEVELS[0], le=LEVELS[1], description="How often the picture is halved.")
    steps: int = Field(default=3000, ge=1, le=1_000_000)
    batch: int = Field(default=4, ge=1, le=256)
    crop_px: int = Field(default=64, ge=16, le=1024, description="Side of the squares that it learns from.")
    lr: float = Field(default=2e-3, gt=0, le=1, description="At the beginning; it falls to nothing along a cosine.")
    seed: int = Field(default=0, ge=0, le=2**31 - 1)

    @property
    def spec(self) -> dict[str, Any]:
        """Of the network, see `network`."""
        return {"width": self.width, "levels": self.levels}


def train_denoiser(
    pairs: Sequence[Pair], plan: DenoisingPlan, *, on_step: Callable[[int, float], None] = lambda step, loss: None
) -> SpeckleUNet:
    """Train a denoiser.

    Args:
        pairs: To learn from.
        plan: How.
        on_step: Called with how many steps are done, and the loss.

    Raises:
        DataError: A picture is smaller than a crop, or there is none.
    """
    small = [n for n, pair in enumerate(pairs) if min(pair.clean.shape) < plan.crop_px]
    if not pairs or small:
        found = f"{len(small)} of {len(pairs)} that are smaller" if pairs else "none"
        raise DataError("pictures to denoise", expected=f"some of {plan.crop_px} px a side", found=found)
    torch.manual_seed(plan.seed)
    network = build(plan.spec)
    optimizer = torch.optim.AdamW(network.parameters(), lr=plan.lr)
    for step in range(plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.lr * (1 + math.cos(math.pi * step / plan.steps)) / 2
        speckled, clean = _batch(pairs, plan, np.random.default_rng([plan.seed, step]))
        loss = functional.mse_loss(network(speckled), clean)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_STEP)
        optimizer.step()
        on_step(step + 1, float(loss.detach()))
    network.eval()
    return network


def _batch(pairs: Sequence[Pair], plan: DenoisingPlan, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Squares cut out at random, some mirrored left to right; never upside down: a pulse is shorter along the depth."""
    cut = []
    for number in rng.integers(len(pairs), size=plan.batch):
        pair = pairs[int(number)]
        y, x = (int(rng.integers(side - plan.crop_px + 1)) for side in pair.clean.shape)
        both = np.stack([pair.speckled, pair.clean])[:, y : y + plan.crop_px, x : x + plan.crop_px]
        cut.append(both[:, :, ::-1] if rng.random() < 0.5 else both)
    squares = torch.from_numpy(np.ascontiguousarray(np.stack(cut))).float() / 255
    return squares[:, :1], squares[:, 1:]
