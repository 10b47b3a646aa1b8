"""The classical filters that a denoiser is measured against, each at several strengths, so that its best one counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
Filter = Callable[[Grey], Grey]


def classical_filters() -> dict[str, dict[str, Filter]]:
    """Name -> strength in words -> the filter. BM3D is among them where its package is installed.

    Median; bilateral (Tomasi, Manduchi 1998); non-local means (Buades, Coll, Morel 2005); BM3D (Dabov and others 2007).
    """
    found: dict[str, dict[str, Filter]] = {
        "nothing": {"": lambda image: image},
        "median": {f"{side} px": _median(side) for side in (3, 5, 7, 9)},
        "bilateral": {
            f"sigma {space} px, {levels} levels": _bilateral(space, levels)
            for space in (2, 4, 8)
            for levels in (20, 30, 40, 80)
        },
        "non-local means": {f"h {strength}": _nlm(strength) for strength in (15, 25, 35, 50)},
    }
    if find_spec("bm3d") is not None:
        found["BM3D"] = {f"sigma {sigma}": _bm3d(sigma) for sigma in (35, 50, 65, 80)}
    return found


def strengths(filters: dict[str, dict[str, Filter]]) -> Iterator[tuple[str, str, Filter]]:
    """Every filter at every strength."""
    for name, of in filters.items():
        for strength, each in of.items():
            yield name, strength, each


def _median(side: int) -> Filter:
    return lambda image: _grey(cv2.medianBlur(image, side))


def _bilateral(space: int, levels: int) -> Filter:
    return lambda image: _grey(cv2.bilateralFilter(image, 0, levels, space))


def _nlm(strength: int) -> Filter:
    return lambda image: _grey(cv2.fastNlMeansDenoising(image, None, strength, 5, 15))


def _bm3d(sigma: int) -> Filter:
    def denoised(image: Grey) -> Grey:
        import bm3d  # type: ignore[import-not-found]

        return _grey(np.rint(np.clip(bm3d.bm3d(image.astype(np.float64) / 255, sigma / 255), 0, 1) * 255))

    return denoised


def _grey(image: Any) -> Grey:
    return np.asarray(image, dtype=np.uint8)
