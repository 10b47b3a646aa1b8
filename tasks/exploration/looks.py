"""Simple statistics of each frame's picture, computed once for each frame and kept by its hash.

A night looks only at frames that are new to this machine: what it costs grows with them, not with the data set.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.errors import IntegrityError
from tasks.exploration.frames import Frames
from tasks.ingest.phash import perceptual_hash
from tasks.kind import THUMBNAIL_PX, Image, Kind
from tasks.lake import Lake
from tasks.provenance import meaning_of
from tasks.schemas import Oid, digest
from tasks.whole_files import written_whole

FloatArray = npt.NDArray[np.float32]

NUMBERS = ("brightness", "contrast", "sharpness")
"""Mean grey value, 0 to 255; its standard deviation; that of the Laplacian, at 256 px at most."""
_SHARP_PX = 256
_AT_ONCE = 256


@dataclass(frozen=True)
class Looks:
    """What pictures look like, one row for each frame.

    Attributes:
        numbers: float32 [n, len(NUMBERS)].
        phash: uint64 [n], `tasks.ingest.phash`.
        features: float32 [n, d], as the kind's exploration makes them; d is 0 where it makes none.
    """

    numbers: FloatArray
    phash: npt.NDArray[np.uint64]
    features: FloatArray

    def number(self, name: str) -> FloatArray:
        """One of `NUMBERS`, [n]."""
        return self.numbers[:, NUMBERS.index(name)]


class Look(NamedTuple):
    """Of one picture: its numbers, its perceptual hash, and itself, uint8 [THUMBNAIL_PX, THUMBNAIL_PX, 3], BGR."""

    numbers: tuple[float, ...]
    phash: int
    thumbnail: Image


def looks_of(lake: Lake, line: str, kind: Kind, oids: Sequence[Oid], frames: Frames) -> Looks:
    """The looks of the frames that can be read, in their order; those that are new are computed, and kept in the cache.

    Args:
        lake: Whose cache keeps them.
        line: Whose; only for where the cache is.
        kind: Of the line.
        oids: Of frames.
        frames: Reads them, and remembers those that are damaged: the result has no rows for them.

    Raises:
        NotFound: A frame is not in the lake.
        IntegrityError: None of them can be read.
    """
    path = lake.settings.cache_dir / "exploration" / f"{line}-{code_of(kind, Path(__file__))}.npz"
    known, parts = _kept(path)
    missing = sorted(set(oids) - set(known))
    with ThreadPoolExecutor(lake.settings.workers) as threads:
        for start in range(0, len(missing), _AT_ONCE):
            paths = frames.paths(missing[start : start + _AT_ONCE])
            images = threads.map(lambda item: _look_at(frames, *item), paths.items())
            new = {oid: look for oid, look in zip(paths, images, strict=True) if look is not None}
            if new:
                parts.append(_stacked(kind, list(new.values())))
                known += new
    readable = [oid for oid in oids if oid not in frames.damaged]
    if not readable:
        raise IntegrityError(f"line {line}: none of {len(oids)} frames can be read")
    looks = _joined(parts)
    if missing:
        _keep(path, known, looks)
    place = {oid: number for number, oid in enumerate(known)}
    rows = np.array([place[oid] for oid in readable], dtype=np.intp)
    return Looks(looks.numbers[rows], looks.phash[rows], looks.features[rows])


def look_at(image: Image) -> Look:
    """Look at one picture, BGR uint8 [height, width, 3]."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    scale = min(1.0, _SHARP_PX / max(grey.shape))
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey
    numbers = float(grey.mean()), float(grey.std()), float(cv2.Laplacian(small, cv2.CV_32F).std())
    thumbnail = cv2.resize(image, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    return Look(numbers, perceptual_hash(image), np.asarray(thumbnail, dtype=np.uint8))


def _look_at(frames: Frames, oid: Oid, path: Path) -> Look | None:
    image = frames.image(oid, path)
    return None if image is None else look_at(image)


def _stacked(kind: Kind, looks: Sequence[Look]) -> Looks:
    thumbnails = np.stack([look.thumbnail for look in looks])
    part = kind.exploration
    features = part.features(thumbnails) if part is not None else np.zeros((len(looks), 0), np.float32)
    return Looks(
        np.array([look.numbers for look in looks], dtype=np.float32),
        np.array([look.phash for look in looks], dtype=np.uint64),
        features.astype(np.float16).astype(np.float32),  # as the cache gives them back
    )


def _joined(parts: Sequence[Looks]) -> Looks:
    return Looks(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Looks)))


def _kept(path: Path) -> tuple[list[Oid], list[Looks]]:
    """What the cache holds; nothing where it is not there, or damaged."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            looks = Looks(kept["numbers"], kept["phash"], kept["features"].astype(np.float32))
            return [str(oid) for oid in kept["oids"]], [looks]
    except NOT_THERE_OR_DAMAGED:
        return [], []


def _keep(path: Path, oids: Sequence[Oid], looks: Looks) -> None:
    features = looks.features.astype(np.float16)
    write_arrays(path, {"oids": np.array(oids), "numbers": looks.numbers, "phash": looks.phash, "features": features})


NOT_THERE_OR_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
"""What reading a file of `write_arrays` raises where it is not there, was cut short, or is of another form."""


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write a cache file as a whole, or not at all."""
    with written_whole(path) as part, part.open("wb") as file:
        np.savez(file, **arrays)


def code_of(kind: Kind, computed_by: Path) -> str:
    """By which code something was computed: what other code left does not count."""
    own = kind.place.folder / "exploration.py"
    return digest([meaning_of(path) for path in (computed_by, own) if path.is_file()])[:12]
