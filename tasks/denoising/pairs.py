"""Pictures with and without speckle, the same scene in both: what a denoiser learns from and is measured on.

The truth is the mean of the speckles' decibels: what averaging endless speckles would give (`MEAN_DB`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.synthetic.speckle import MEAN_DB, scatter
from tasks.synthetic.ultrasound import draw_pair


@dataclass(frozen=True)
class Pair:
    """One scene twice.

    Attributes:
        speckled: uint8 [h, w], as a scanner shows it.
        clean: uint8 [h, w], its truth.
    """

    speckled: NDArray[np.uint8]
    clean: NDArray[np.uint8]


def phantom_pairs(count: int, *, first: int = 1, seed: int = 0) -> Iterator[Pair]:
    """Pictures of the synthetic fetus, numbered from `first`, with their truth."""
    for number in range(first, first + count):
        yield Pair(*draw_pair(number, seed=seed))


def add_speckle(
    clean: NDArray[np.uint8], rng: np.random.Generator, *, dynamic_range_db: float = 60.0, pulse_px: float = 1.0
) -> NDArray[np.uint8]:
    """Put speckle on any clean picture, by the multiplicative model: the amplitude behind its grey levels, times it.

    Args:
        clean: uint8 [h, w]: the mean of the decibels at each place.
        rng: Of the scatterers.
        dynamic_range_db: Decibels from black to white.
        pulse_px: Standard deviation of the pulse, both ways.
    """
    factor = scatter(np.ones(clean.shape, np.float32), rng, axial_px=pulse_px, lateral_px=pulse_px)
    level_db = 20 * np.log10(np.maximum(factor, 1e-6)) - MEAN_DB
    return np.asarray(np.clip(np.rint(clean + 255 * level_db / dynamic_range_db), 0, 255), dtype=np.uint8)
