"""Refuses a dataset in which something of one split also stands in another.

Groups, recordings and frames are compared by name and hash, exactly. For near-duplicates (a clip re-encoded, resized,
cut in two) frames of different splits are compared by what they show, in three steps of rising cost:

1. perceptual hashes at most `HASH_BITS` bits apart make a pair a suspect. All pairs of distinct hashes are compared, in
   blocks: exclusive-or and population count do 500 million a second, and unlike an index by bands they get no slower
   where all frames look alike, which is how it is under one microscope;
2. suspects are decoded, reduced to 64 x 64, freed of illumination (high-pass), and correlated;
3. a fixed background (dirt, a grid) alone can correlate. Where both recordings have frames enough to know theirs (the
   median), it is subtracted, and what remains, the objects, must correlate too.

The thresholds were measured on three real clips (698 x 528, 30 Hz) and five synthetic ones. Encoded again at JPEG
quality 50 or 90, halved or brightened, a frame differs from itself in up to 10 bits and correlates at 0.98 or more
(quality 20: 24 bits, 0.93; such a copy is caught by those of its frames that come out better). Its neighbour in time
(33 ms) correlates at 0.86 to 0.91. Different clips differ in 18 bits or more and correlate at 0.12 or less; laid over
the same background at 0.67 or less, and at 0.07 or less once it is subtracted.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tasks.errors import DataError, LeakageError
from tasks.lake import Lake
from tasks.schemas import Oid

if TYPE_CHECKING:
    import pyarrow as pa

HASH_BITS = 12
CORRELATION = 0.75
RESIDUAL_CORRELATION = 0.5
_SIDE_PX = 64
_MIN_BACKGROUND_FRAMES = 5
_MIN_RESIDUAL = 0.1  # of the high-pass energy: below it everything stands still, and the residual is noise
_BLOCK = 128
_NAMED = 5  # pairs that an error spells out

Vectors = npt.NDArray[np.float32]
Row = dict[str, Any]
Alike = tuple[int, int, float]
"""Numbers of two frames, and how their pictures correlate."""


@dataclass(frozen=True)
class LeakCheck:
    """What the check looked at, for the dataset version's record."""

    frames: int
    suspects: int
    looked_at: int
    hash_bits: int = HASH_BITS
    correlation: float = CORRELATION

    def as_json(self) -> dict[str, Any]:
        """Plain data for storing."""
        return asdict(self)


def check_leakage(lake: Lake, rows: pa.Table) -> LeakCheck:
    """Refuse a split dataset that leaks.

    Args:
        lake: Where the frames are.
        rows: Columns split, group, recording_id, recording_name, frame_index, frame_oid, phash.

    Raises:
        LeakageError: Naming what stands in which two splits.
    """
    names = ["split", "group", "recording_id", "recording_name", "frame_index", "frame_oid", "phash"]
    frames: list[Row] = rows.select(names).to_pylist()
    _refuse(_in_two_splits(frames, "group"), "a group stands in two splits")
    _refuse(_in_two_splits(frames, "recording_id"), "a recording stands in two splits")
    _refuse(_in_two_splits(frames, "frame_oid"), "the very same frame stands in two splits")
    suspects = _Suspects.among(frames)
    alike = suspects.alike(lake, frames) if suspects.pairs else []
    _refuse(_by_recordings(frames, _confirmed(lake, frames, alike)), "nearly the same frame stands in two splits")
    return LeakCheck(frames=len(frames), suspects=suspects.pairs, looked_at=int(suspects.involved.sum()))


def _refuse(pairs: Sequence[str], what: str) -> None:
    if not pairs:
        return
    rest = f" and {len(pairs) - _NAMED} more" if len(pairs) > _NAMED else ""
    raise LeakageError(
        f"{what}: {'; '.join(pairs[:_NAMED])}{rest}",
        expected="each group, recording and picture in one split only: the test would flatter the model",
        fix="delete the labels of one of the two recordings in Label Studio; recordings that belong together need the "
        "same donor when they are added",
    )


def _name(frame: Row) -> str:
    return f"{frame['recording_name']} frame {frame['frame_index']} ({frame['split']})"


def _in_two_splits(frames: Iterable[Row], column: str) -> list[str]:
    found: dict[str, dict[str, Row]] = defaultdict(dict)
    for frame in frames:
        found[frame[column]].setdefault(frame["split"], frame)
    return [" and ".join(_name(f) for f in by.values()) for _, by in sorted(found.items()) if len(by) > 1]


def _by_recordings(frames: Sequence[Row], pairs: Iterable[Alike]) -> list[str]:
    """One sentence for each pair of recordings, with its most alike pair of frames and how many there are."""
    found: dict[tuple[str, ...], list[Alike]] = defaultdict(list)
    for i, j, correlation in pairs:
        found[tuple(sorted((frames[i]["recording_id"], frames[j]["recording_id"])))].append((i, j, correlation))
    sentences = []
    for _, own in sorted(found.items()):
        i, j, correlation = max(own, key=lambda pair: pair[2])
        more = f", {len(own)} such pairs" if len(own) > 1 else ""
        sentences.append(f"{_name(frames[i])} and {_name(frames[j])} (correlation {correlation:.2f}{more})")
    return sentences


@dataclass(frozen=True)
class _Suspects:
    """Frames of different splits whose perceptual hashes are close.

    Attributes:
        hashes: uint64 [n], of all frames.
        splits: int8 [n], a number for each frame's split.
        involved: bool [n], whether a frame is in any such pair.
        pairs: How many there are. They are not listed: under one microscope there may be millions.
    """

    hashes: npt.NDArray[np.uint64]
    splits: npt.NDArray[np.int8]
    involved: npt.NDArray[np.bool_]
    pairs: int

    @classmethod
    def among(cls, frames: Sequence[Row]) -> _Suspects:
        hashes = np.array([int(frame["phash"], 16) for frame in frames], dtype=np.uint64)
        names = sorted({frame["split"] for frame in frames})
        splits = np.array([names.index(frame["split"]) for frame in frames], dtype=np.int8)
        involved, pairs = np.zeros(len(frames), dtype=np.bool_), 0
        for start in range(0, len(frames), _BLOCK):
            near = close(hashes, splits, start)
            pairs += int(near.sum())
            involved |= near.any(axis=0)
            involved[start : start + _BLOCK] |= near.any(axis=1)
        return cls(hashes, splits, involved, pairs)

    def alike(self, lake: Lake, frames: Sequence[Row]) -> list[Alike]:
        """Those whose pictures correlate: numbers of two frames, correlation."""
        vectors = np.zeros((len(frames), _SIDE_PX * _SIDE_PX), dtype=np.float32)
        numbers = np.flatnonzero(self.involved)
        vectors[numbers] = _descriptors(lake, [frames[n]["frame_oid"] for n in numbers])
        found = []
        for start in range(0, len(frames), _BLOCK):
            near = close(self.hashes, self.splits, start)
            if not near.any():
                continue
            later = np.flatnonzero(near.any(axis=0))
            correlations = vectors[start : start + _BLOCK] @ vectors[later].T
            for i, j in np.argwhere(near[:, later] & (correlations >= CORRELATION)).tolist():
                found.append((start + i, int(later[j]), float(correlations[i, j])))
        return found


def close(hashes: npt.NDArray[np.uint64], splits: npt.NDArray[np.int8], start: int) -> npt.NDArray[np.bool_]:
    """Which frames of a block make a suspicious pair with a frame after them.

    Args:
        hashes: uint64 [n].
        splits: [n]; only pairs of different splits count.
        start: Number of the block's first frame.

    Returns:
        bool [frames in block, n], true only where the column's number is above the row's.
    """
    block = slice(start, start + _BLOCK)
    near: npt.NDArray[np.bool_] = np.bitwise_count(hashes[block, None] ^ hashes[None, :]) <= HASH_BITS
    near &= splits[block, None] != splits[None, :]
    near &= np.arange(len(hashes))[None, :] > np.arange(len(hashes))[block, None]
    return near


def _confirmed(lake: Lake, frames: Sequence[Row], alike: Sequence[Alike]) -> list[Alike]:
    """Those that are alike not only for their background."""
    numbers = sorted({number for i, j, _ in alike for number in (i, j)})
    if not numbers:
        return []
    vectors = dict(zip(numbers, _descriptors(lake, [frames[n]["frame_oid"] for n in numbers]), strict=True))
    backgrounds = _backgrounds(lake, frames, {frames[number]["recording_id"] for number in numbers})
    same = []
    for i, j, correlation in alike:
        ours, theirs = backgrounds[frames[i]["recording_id"]], backgrounds[frames[j]["recording_id"]]
        if ours is None or theirs is None or _residuals_agree(vectors[i] - ours, vectors[j] - theirs):
            same.append((i, j, correlation))
    return same


def _backgrounds(lake: Lake, frames: Sequence[Row], recordings: set[Oid]) -> dict[Oid, Vectors | None]:
    """What all frames of a recording share; None where there are too few of them to tell."""
    found: dict[Oid, Vectors | None] = {}
    for recording in recordings:
        oids = [frame["frame_oid"] for frame in frames if frame["recording_id"] == recording]
        enough = len(oids) >= _MIN_BACKGROUND_FRAMES
        found[recording] = np.median(_descriptors(lake, oids), axis=0) if enough else None
    return found


def _residuals_agree(ours: Vectors, theirs: Vectors) -> bool:
    sizes = float(np.linalg.norm(ours)), float(np.linalg.norm(theirs))
    if min(sizes) < _MIN_RESIDUAL:
        return True
    return float(ours @ theirs) / (sizes[0] * sizes[1]) >= RESIDUAL_CORRELATION


def _descriptors(lake: Lake, oids: Sequence[Oid]) -> Vectors:
    """What frames show, free of illumination: float32 [n, 4096], each of length 1. Kept in the cache by oid."""
    folder = lake.settings.cache_dir / "descriptors"
    paths = {oid: folder / oid[:2] / f"{oid}.npy" for oid in oids}
    missing = [oid for oid, path in paths.items() if not path.is_file()]
    images = lake.blobs.fetch_many(missing)
    with ThreadPoolExecutor(lake.settings.workers) as threads:
        list(threads.map(lambda oid: _keep(paths[oid], describe(images[oid])), missing))
    return np.stack([np.load(paths[oid]) for oid in oids]).astype(np.float32)


def describe(image: Path) -> npt.NDArray[np.float16]:
    """An image file's descriptor: float16 [4096]; all zeros where it shows nothing."""
    import cv2

    grey = cv2.imdecode(np.fromfile(image, dtype=np.uint8), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise DataError(f"frame {image.name}: is not an image that can be compared", fix="remove its labelling task")
    small = cv2.resize(grey, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    detail = small - cv2.GaussianBlur(small, (0, 0), _SIDE_PX / 16)
    detail -= detail.mean()
    length = float(np.linalg.norm(detail))
    return (detail.ravel() / length if length > 1e-3 else np.zeros(_SIDE_PX * _SIDE_PX)).astype(np.float16)


def _keep(path: Path, vector: npt.NDArray[np.float16]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.{os.urandom(4).hex()}.npy")
    np.save(part, vector)
    part.replace(path)
