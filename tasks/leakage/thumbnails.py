"""Recordings in small, and what the audit computes of these small pictures.

The rooms `leakage` and `ingest` do not import each other: `tasks.ingest.viewing.Viewer` is handed in from above, and
what it returns has the shapes of the protocols below.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tasks.schemas import Oid

Vectors = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]
Region = tuple[float, float, float, float]
"""A part of the picture as fractions of its sides: left, top, right, bottom."""

WHOLE: Region = (0.0, 0.0, 1.0, 1.0)
SIDE_PX = 64
"""The sides of the pictures that are compared."""
STILL = 4.5
"""Grey levels of `motion`: below it nothing moves, and what is left is the camera's noise."""
MOVING_FRAMES = 5
"""With fewer frames, what moves cannot be separated from what stands still."""
BACKGROUND_FRAMES = 64
"""So many frames, spread over a clip, show what stands still in it."""


class Clip(Protocol):
    """A recording in small; `tasks.ingest.watching.Clip`."""

    @property
    def width_px(self) -> int: ...
    @property
    def height_px(self) -> int: ...
    @property
    def indices(self) -> npt.NDArray[np.int64]: ...
    @property
    def pts_s(self) -> npt.NDArray[np.float64]: ...
    @property
    def thumbs(self) -> npt.NDArray[np.uint8]: ...
    @property
    def stills(self) -> tuple[Image, ...]: ...


class Viewer(Protocol):
    """Shows recordings; `tasks.ingest.viewing.Viewer`."""

    @property
    def crashed(self) -> Collection[Oid]:
        """Recordings that it could not show because a worker process died: another try may succeed."""

    def watch(self, wanted: Sequence[tuple[Oid, Region]]) -> Iterator[tuple[Oid, Clip | str]]:
        """Yield recordings in small, in the order wanted; a reason where one cannot be seen."""

    def pictures(self, wanted: Mapping[Oid, Sequence[int]]) -> dict[tuple[Oid, int], bytes]:
        """Return single frames as picture files; those that cannot be shown are left out."""


def details(thumbs: npt.NDArray[np.uint8]) -> Vectors:
    """Compute what small pictures show, free of illumination: `contrasts` of length 1 (0 where they show nothing).

    Args:
        thumbs: uint8 [n, 64, 64].

    Returns:
        float32 [n, 4096].
    """
    return units(contrasts(thumbs))


def contrasts(thumbs: npt.NDArray[np.uint8]) -> Vectors:
    """Filter small pictures by a high-pass and subtract their mean, in grey levels: float32 [n, 4096]."""
    import cv2

    found = np.empty((len(thumbs), SIDE_PX * SIDE_PX), np.float32)
    for number, thumb in enumerate(thumbs):
        small = thumb.astype(np.float32)
        detail = small - cv2.GaussianBlur(small, (0, 0), SIDE_PX / 16)
        found[number] = (detail - detail.mean()).ravel()
    return found


def motion(thumbs: npt.NDArray[np.uint8]) -> float:
    """Measure how much something moves in a clip, in grey levels.

    The measure is the 99.8th percentile (the eighth largest of 4096 pixels) of what differs from the clip's background,
    and of that the median over frames. So two heads in an empty field count, and the dirt around them, however strong,
    does not.
    """
    if not len(thumbs):
        return 0.0
    own = contrasts(thumbs[np.unique(np.linspace(0, len(thumbs) - 1, BACKGROUND_FRAMES).astype(int))])
    return float(np.median(np.percentile(np.abs(own - background(own)), 99.8, axis=1)))


def background(vectors: Vectors) -> Vectors:
    """Compute what stands still in a clip: the median of frames spread over it, [4096]."""
    chosen = np.unique(np.linspace(0, len(vectors) - 1, BACKGROUND_FRAMES).astype(int))
    return np.asarray(np.median(vectors[chosen], axis=0), dtype=np.float32)


def units(vectors: Vectors) -> Vectors:
    """Scale vectors to length 1; a vector that is 0 stays 0."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-3), dtype=np.float32)
