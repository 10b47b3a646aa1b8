"""Pictures that show nearly the same: for the checks of labels, and for the exploration report.

Two pictures do where their perceptual hashes differ in few bits, and where they correlate in small and free of
illumination as two copies of one picture do. The hash alone is not enough: heads in the middle of a crop have it in
common. On a quarter of SMIDS and on MHSMA's training pictures both together found every pair of equal or overlapping
crops that we know, and no pair of different classes (bound: 0.93; the largest correlation of such a pair: 0.87).

The audit itself compares frames of two splits, by wider bounds and beyond their background: see `frame_matching`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tasks.leakage.nearby import Numbers, within
from tasks.leakage.pair_check import STILL_CORRELATION
from tasks.leakage.thumbnails import Vectors

NEAR_BITS = 6
"""Of the 64 of a perceptual hash; pictures whose hashes differ in more are not compared."""


def near_pairs(hashes: npt.NDArray[np.uint64]) -> Iterator[tuple[Numbers, Numbers]]:
    """Yield all pairs of pictures with near hashes, some at a time: places of the hashes, the lower one first."""
    for ones, others in within(hashes, hashes, NEAR_BITS):
        once = ones < others
        yield ones[once], others[once]


def correlate(one: Vectors, other: Vectors) -> bool:
    """Whether two pictures in small, as `frame_matching.descriptors` gives them, correlate as copies of one do."""
    return float(one @ other) >= STILL_CORRELATION
