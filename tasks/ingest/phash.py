"""A 64-bit perceptual hash: pictures that look alike differ in few bits."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

_SIDE = 32
_LOW = slice(1, 9)


def perceptual_hash(image: npt.NDArray[np.uint8]) -> int:
    """The hash of a picture.

    The picture is reduced to 32x32 grey, transformed (DCT-II), and each of the 8x8 lowest frequencies that vary along
    both axes gives one bit: above the median or not. The frequencies along one axis only (brightness, uneven lighting,
    vignetting) are left out: they are the microscope's, not the scene's. After the "pHash" of Zauner (2010).

    Args:
        image: [h, w] grey or [h, w, 3] BGR, uint8.

    Returns:
        An unsigned 64-bit integer.
    """
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float64)
    low = cv2.dct(small)[_LOW, _LOW].ravel()
    bits = low > np.median(low)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def distance_bits(one: int, other: int) -> int:
    """How many of the 64 bits differ."""
    return (one ^ other).bit_count()


def as_text(value: int) -> str:
    """16 lower-case hex digits, as the tables keep it."""
    return f"{value:016x}"
