"""Seeing a whole recording in small: a thumbnail of every frame, and a few larger pictures.

The leak audit compares recordings by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from tasks.ingest.images import Image, MediaType
from tasks.ingest.sampling import Picture, Pts

Region = tuple[float, float, float, float]
"""A part of the picture as fractions of its sides: left, top, right, bottom."""

WHOLE: Region = (0.0, 0.0, 1.0, 1.0)
MOST_FRAMES = 6000
"""A longer recording is seen in every second, third, ... frame, and in `_RUNS` unbroken runs that long."""
THUMB_PX = 64
STILLS = 3
STILL_PX = 320
_RUNS = 12
FILE = "watched.npz"
"""In a job's folder."""


@dataclass(frozen=True)
class Clip:
    """A recording, seen in small.

    Attributes:
        width_px: Of its frames.
        height_px: Of its frames.
        indices: int64 [n], which frames.
        pts_s: float64 [n], their times; NaN where the source states none.
        thumbs: uint8 [n, 64, 64], the wanted region, grey.
        stills: A few whole frames, grey, longer side 320 px at most.
    """

    width_px: int
    height_px: int
    indices: npt.NDArray[np.int64]
    pts_s: Pts
    thumbs: npt.NDArray[np.uint8]
    stills: tuple[Image, ...]


class Watcher:
    """The sink that sees all frames; see `tasks.ingest.sampling.Sink`."""

    takes_damaged = False

    def __init__(self, region: Region) -> None:
        self._region = region
        self.pictures: list[Picture] = []  # none: what it saw goes to a file of its own
        self.plan(np.empty(0))

    def plan(self, expected: Pts) -> None:
        """See `Sink.plan`."""
        count = len(expected)
        self._stride = max(1, math.ceil(count / MOST_FRAMES))
        starts = np.linspace(0, max(0, count - self._stride), _RUNS).astype(int).tolist() if self._stride > 1 else []
        self._runs = {start + number for start in starts for number in range(self._stride)}
        self._still = {int((number + 0.5) * count / STILLS) for number in range(STILLS)}
        self._size = (0, 0)
        self._seen: list[tuple[int, float]] = []
        self._thumbs: list[Image] = []
        self._stills: list[Image] = []

    def wants(self, index: int, pts_s: float) -> bool:
        """See `Sink.wants`."""
        return index % self._stride == 0 or index in self._runs or index in self._still

    def take(self, index: int, pts_s: float, image: Image, encoded: tuple[bytes, MediaType] | None = None) -> None:
        """See `Sink.take`."""
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        height, width = grey.shape
        self._size = (width, height)
        left, top, right, bottom = self._region
        part = grey[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
        self._seen.append((index, pts_s))
        self._thumbs.append(_shrunk(part, THUMB_PX, THUMB_PX))
        if index in self._still:
            scale = min(1.0, STILL_PX / max(width, height))
            self._stills.append(_shrunk(grey, max(1, round(width * scale)), max(1, round(height * scale))))

    @property
    def done(self) -> bool:
        """Never."""
        return False

    def save(self, path: Path) -> None:
        """Write what it saw, for `load`."""
        stills = {f"still_{number}": still for number, still in enumerate(self._stills)}
        indices, pts_s = [index for index, _ in self._seen], [at for _, at in self._seen]
        thumbs = np.stack(self._thumbs) if self._thumbs else np.empty((0, THUMB_PX, THUMB_PX), np.uint8)
        np.savez(
            path, size=np.array(self._size), indices=np.array(indices, np.int64), pts_s=np.array(pts_s, np.float64),
            thumbs=thumbs, allow_pickle=False, **stills,
        )  # fmt: skip


def _shrunk(grey: Image, width: int, height: int) -> Image:
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def load(path: Path) -> Clip:
    """What a `Watcher` saved."""
    with np.load(path, allow_pickle=False) as data:
        stills = sorted(name for name in data.files if name.startswith("still_"))
        return Clip(
            int(data["size"][0]), int(data["size"][1]), data["indices"], data["pts_s"], data["thumbs"],
            tuple(data[name] for name in stills),
        )  # fmt: skip
