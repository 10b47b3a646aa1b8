"""Local features of a few frames of a recording: they survive when its sides are cut off.

The features are ORB (Rublee et al. 2011), upright: recordings are cropped and resized, hardly ever turned, and
descriptors that keep their orientation distinguish more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.leakage.thumbnails import Image

POINTS = 300
"""So many features of each frame."""
_LEVELS, _STEP, _FAST, _EDGE, _PATCH = 4, 1.2, 7, 16, 31


@dataclass(frozen=True)
class Features:
    """Local features of some stills of one recording.

    Attributes:
        size_px: Width and height of the recording's frames.
        still: uint8 [m], the number of the still that a feature is of.
        points: float32 [m, 2], x and y of each feature, in pixels of the recording's frames.
        descriptors: uint8 [m, 32], 256 bits of each feature.
    """

    size_px: tuple[int, int]
    still: npt.NDArray[np.uint8]
    points: npt.NDArray[np.float32]
    descriptors: npt.NDArray[np.uint8]


def features_of(size_px: tuple[int, int], stills: Sequence[Image]) -> Features:
    """Find the features of stills (grey, each a whole frame, usually shrunk)."""
    import cv2

    detector = cv2.ORB_create(  # type: ignore[attr-defined]
        nfeatures=POINTS, scaleFactor=_STEP, nlevels=_LEVELS, edgeThreshold=_EDGE, patchSize=_PATCH, fastThreshold=_FAST
    )
    numbers, points, descriptors = [], [], []
    for number, still in enumerate(stills):
        corners = detector.detect(still)
        for corner in corners:
            corner.angle = 0
        corners, found = detector.compute(still, corners)
        if found is None:
            continue
        scale = np.array(size_px, np.float32) / (still.shape[1], still.shape[0])
        numbers.append(np.full(len(found), number, np.uint8))
        points.append(np.array([corner.pt for corner in corners], np.float32) * scale)
        descriptors.append(found)
    if not numbers:
        return Features(size_px, np.empty(0, np.uint8), np.empty((0, 2), np.float32), np.empty((0, 32), np.uint8))
    return Features(size_px, np.concatenate(numbers), np.concatenate(points), np.concatenate(descriptors))
