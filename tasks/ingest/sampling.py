"""Which frames of a recording a line gets: every so many seconds, spread over the whole recording, no near-duplicates.

A sink is asked about every frame in presentation order, and given the wanted ones; readers (`video`, `stacks`) decode
once for all that want something.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tasks.config import FrameSampling
from tasks.ingest.images import Image, MediaType, encode_jpeg
from tasks.ingest.phash import distance_bits, perceptual_hash

Pts = npt.NDArray[np.float64]
"""Presentation timestamps in seconds, shape [frames]; NaN where the source states no time."""

_TOLERANCE_S = 1e-6


@dataclass(frozen=True)
class Rate:
    """How a line samples: `tasks.config.FrameSampling` as plain values, which travel to other processes."""

    every_s: float
    max_frames: int
    near_duplicate_bits: int

    @classmethod
    def of(cls, plan: FrameSampling) -> Rate:
        """A line's `frames:`."""
        return cls(plan.every_s, plan.max_per_recording, plan.near_duplicate_bits)


@dataclass(frozen=True)
class Picture:
    """A frame that was taken, as the file it will be stored as."""

    frame_index: int
    pts_s: float
    data: bytes
    media_type: MediaType
    width_px: int
    height_px: int
    phash: int


class Sink(Protocol):
    """What a reader gives frames to.

    Attributes:
        takes_damaged: Whether frames that the decoder marks as damaged (it patched what it could not decode) count too.
    """

    takes_damaged: bool

    def plan(self, expected: Pts) -> None:
        """Start (again, where a reader had to): the timestamps of the frames to come, as far as the container knows."""

    def wants(self, index: int, pts_s: float) -> bool:
        """Whether the frame is wanted. A wanted frame that turns out unusable is not taken; the next may be."""

    def take(self, index: int, pts_s: float, image: Image, encoded: tuple[bytes, MediaType] | None = None) -> None:
        """Receive a wanted frame: its pixels, and the file it can be stored as unchanged, if there is one."""

    @property
    def done(self) -> bool:
        """Whether no later frame can be wanted, and the reader may stop."""


def picture_of(index: int, pts_s: float, image: Image, encoded: tuple[bytes, MediaType] | None, phash: int) -> Picture:
    """The frame as a file: the one it is already, or a JPEG."""
    data, media_type = encoded or (encode_jpeg(image), "image/jpeg")
    return Picture(index, pts_s, data, media_type, image.shape[1], image.shape[0], phash)


class _LineSampler:
    """One line's marks in time (or in frames, where there is no time), and the last frame it kept."""

    def __init__(self, rate: Rate, expected: Pts) -> None:
        self._bits = rate.near_duplicate_bits
        self._last_kept: int | None = None
        self._marks_taken = 0
        self.kept: list[int] = []
        self._marks = _marks(rate, expected)
        self.due = self._marks[0]

    def passed(self, at: float) -> None:
        """A frame at this moment was looked at: the marks up to it are served."""
        while self._marks_taken < len(self._marks) and self._marks[self._marks_taken] <= at + _TOLERANCE_S:
            self._marks_taken += 1
        self.due = self._marks[self._marks_taken] if self._marks_taken < len(self._marks) else math.inf

    def keeps(self, index: int, phash: int) -> bool:
        """Whether the frame differs enough from the last one kept; then it is kept."""
        if self._last_kept is not None and distance_bits(phash, self._last_kept) < self._bits:
            return False
        self._last_kept = phash
        self.kept.append(index)
        return True


def _marks(rate: Rate, expected: Pts) -> list[float]:
    """The moments (in seconds, or frame indices where there is no time) from which on the next frame is taken.

    Every `every_s`; further apart where that gave more than `max_frames`, so that they span the whole recording.
    """
    if not len(expected):
        return [-math.inf]
    if np.isnan(expected).all():
        chosen = np.linspace(0, len(expected) - 1, min(rate.max_frames, len(expected)))
        return [float(index) for index in np.unique(np.rint(chosen))]
    first, last = float(np.nanmin(expected)), float(np.nanmax(expected))
    count = math.floor((last - first) / rate.every_s + _TOLERANCE_S) + 1
    interval = rate.every_s if count <= rate.max_frames else (last - first) / rate.max_frames
    return [first + number * interval for number in range(min(count, rate.max_frames))]


class Sampler:
    """Samples for several lines in one pass."""

    takes_damaged = False

    def __init__(self, rates: Mapping[str, Rate]) -> None:
        self._rates = dict(rates)
        self.plan(np.empty(0))

    def plan(self, expected: Pts) -> None:
        """See `Sink.plan`."""
        self.pictures: list[Picture] = []
        self._lines = {line: _LineSampler(rate, expected) for line, rate in self._rates.items()}
        self._untimed = bool(len(expected)) and bool(np.isnan(expected).all())
        self._due = min((line.due for line in self._lines.values()), default=math.inf)

    def wants(self, index: int, pts_s: float) -> bool:
        """See `Sink.wants`. Cheap: it is asked for every frame."""
        return (index if self._untimed else pts_s) >= self._due - _TOLERANCE_S

    def take(self, index: int, pts_s: float, image: Image, encoded: tuple[bytes, MediaType] | None = None) -> None:
        """See `Sink.take`; the frame is stored if any line keeps it."""
        at = float(index) if self._untimed else pts_s
        phash = perceptual_hash(image)
        kept = False
        for line in self._lines.values():
            if at >= line.due - _TOLERANCE_S:
                kept |= line.keeps(index, phash)
                line.passed(at)
        if kept:
            self.pictures.append(picture_of(index, pts_s, image, encoded, phash))
        self._due = min(line.due for line in self._lines.values())

    @property
    def done(self) -> bool:
        """Never: the timestamps of all frames are wanted."""
        return False

    @property
    def kept(self) -> dict[str, list[int]]:
        """Line → indices of the frames it keeps."""
        return {line: list(sampler.kept) for line, sampler in self._lines.items()}


class Extractor:
    """Takes the frames of given indices, and stops after the last."""

    takes_damaged = True  # there is a label for it, so somebody saw it

    def __init__(self, indices: Iterable[int]) -> None:
        self._wanted = frozenset(indices)
        self._last = max(self._wanted, default=-1)
        self.plan(np.empty(0))

    def plan(self, expected: Pts) -> None:
        """See `Sink.plan`."""
        self.pictures: list[Picture] = []

    def wants(self, index: int, pts_s: float) -> bool:
        """See `Sink.wants`."""
        return index in self._wanted

    def take(self, index: int, pts_s: float, image: Image, encoded: tuple[bytes, MediaType] | None = None) -> None:
        """See `Sink.take`."""
        self.pictures.append(picture_of(index, pts_s, image, encoded, perceptual_hash(image)))

    @property
    def done(self) -> bool:
        """Whether the last wanted frame was taken."""
        return bool(self.pictures) and self.pictures[-1].frame_index >= self._last


def candidate_indices(rate: Rate, pts_s: Pts) -> list[int]:
    """The indices that `Sampler` looks at for one line, before near-duplicates are left out."""
    if len(pts_s) and np.isnan(pts_s).all():
        return [int(mark) for mark in _marks(rate, pts_s)]
    marks = np.asarray(_marks(rate, pts_s)) - _TOLERANCE_S
    return [int(index) for index in np.unique(np.searchsorted(pts_s, marks)) if index < len(pts_s)]
