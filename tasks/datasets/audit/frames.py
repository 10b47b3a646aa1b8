"""Frames of the dataset that show nearly the same, where what moves in their recordings does not settle it.

Stills, folders of images, very short clips, and clips in which nothing moves. Three steps of rising cost:

1. perceptual hashes at most `HASH_BITS` bits apart make a pair a suspect;
2. suspects are decoded, reduced to 64 x 64, freed of illumination (high-pass), and correlated;
3. a fixed background (dirt, a grid) alone can correlate. Where both recordings have frames enough to know theirs (the
   median), it is subtracted, and what remains, the objects, must correlate too.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.datasets.audit.exact import Row, side_of
from tasks.datasets.audit.findings import Finding
from tasks.datasets.audit.nearby import within
from tasks.datasets.audit.seeing import SIDE_PX, Vectors, details
from tasks.datasets.audit.signatures import Signature
from tasks.errors import DataError
from tasks.lake import Lake
from tasks.schemas import Oid

HASH_BITS = 11
CORRELATION = 0.75
RESIDUAL_CORRELATION = 0.5
_MIN_BACKGROUND_FRAMES = 5
_MIN_RESIDUAL = 0.1  # of the high-pass energy: below it everything stands still, and the residual is noise
Pair = tuple[Oid, Oid]
Numbers = npt.NDArray[np.int64]


def suspects(frames: Sequence[Row], signed: Mapping[Oid, Signature]) -> dict[Pair, tuple[Numbers, Numbers]]:
    """Frames of different splits whose hashes are close, by pairs of recordings.

    Args:
        frames: Rows with split, recording_id, phash.
        signed: Signatures: two recordings that move are compared by that, and one that clearly moves is no copy of one
            that stands still.

    Returns:
        For each pair of recordings the numbers of its frames that are in any such pair of frames.
    """
    hashes = np.array([int(frame["phash"], 16) for frame in frames], dtype=np.uint64)
    splits, recordings = _numbers(frames, "split"), _numbers(frames, "recording_id")
    kinds = {recording: _kind(own) for recording, own in signed.items()}
    kind = np.array([kinds.get(frame["recording_id"], 0) for frame in frames], dtype=np.int64)
    open_ = np.flatnonzero(kind < 2)
    width = int(recordings.max()) + 1 if len(frames) else 1
    met: dict[int, set[int]] = defaultdict(set)
    for one, other in within(hashes[open_], hashes, HASH_BITS):
        apart = (splits[open_[one]] != splits[other]) & (recordings[open_[one]] != recordings[other])
        apart &= (kind[open_[one]] < 1) | (kind[other] < 3)
        ours, theirs = open_[one[apart]], other[apart]
        pairs = np.minimum(recordings[ours], recordings[theirs]) * width
        pairs += np.maximum(recordings[ours], recordings[theirs])
        both = np.unique(np.concatenate([pairs * len(frames) + ours, pairs * len(frames) + theirs]))
        for pair, start, end in _runs(both // len(frames)):
            met[pair].update((both[start:end] % len(frames)).tolist())
    found = {}
    for numbers in met.values():
        own = np.array(sorted(numbers))
        first = own[recordings[own] == recordings[own[0]]]
        second = own[recordings[own] != recordings[own[0]]]
        found[frames[first[0]]["recording_id"], frames[second[0]]["recording_id"]] = (first, second)
    return found


def _kind(own: Signature) -> int:
    """0: too short to tell; 1: stands still; 2: moves; 3: certainly moves."""
    if own.stands_still:
        return 1
    return 2 * own.moves + own.certainly_moves


def _numbers(frames: Sequence[Row], column: str) -> Numbers:
    known: dict[str, int] = {}
    return np.array([known.setdefault(frame[column], len(known)) for frame in frames], dtype=np.int64)


def _runs(values: Numbers) -> list[tuple[int, int, int]]:
    """Each value of a sorted row, and where it starts and ends."""
    starts = np.flatnonzero(np.diff(values, prepend=-1)).tolist()
    ends = [*starts[1:], len(values)][: len(starts)]
    return list(zip(values[starts].tolist(), starts, ends, strict=True))


def alike(
    lake: Lake, frames: Sequence[Row], suspected: dict[Pair, tuple[Numbers, Numbers]]
) -> tuple[list[Finding], list[Finding], int]:
    """The closer look.

    Returns:
        What shows the same, what only has the same background, and how many frames were looked at.
    """
    by_recording: dict[Oid, list[Oid]] = defaultdict(list)
    for frame in frames:
        by_recording[frame["recording_id"]].append(frame["frame_oid"])
    backgrounds: dict[Oid, Vectors | None] = {}
    found: list[Finding] = []
    cleared: list[Finding] = []
    seen = set[int]()
    for (one, other), (ours, theirs) in suspected.items():
        seen |= {*ours.tolist(), *theirs.tolist()}
        here = descriptors(lake, [frames[number]["frame_oid"] for number in ours])
        there = descriptors(lake, [frames[number]["frame_oid"] for number in theirs])
        correlations = here @ there.T
        like = correlations >= CORRELATION
        if not like.any():
            continue
        for recording in (one, other):
            if recording not in backgrounds:
                backgrounds[recording] = _background(lake, by_recording[recording])
        same = like & _moved_alike(here, backgrounds[one], there, backgrounds[other])
        finding = _finding(frames, ours, theirs, np.where(same if same.any() else like, correlations, -1), same)
        (found if same.any() else cleared).append(finding)
    return found, cleared, len(seen)


def _finding(
    frames: Sequence[Row], ours: Numbers, theirs: Numbers, values: Vectors, same: npt.NDArray[np.bool_]
) -> Finding:
    """The most alike pair of frames of two recordings."""
    i, j = (int(number) for number in np.unravel_index(int(values.argmax()), values.shape))
    one, other, count = frames[ours[i]], frames[theirs[j]], int(same.sum())
    bits = (int(one["phash"], 16) ^ int(other["phash"], 16)).bit_count()
    correlation = round(float(values[i, j]), 4)
    more = f", {count} such pairs" if count > 1 else ""
    why = f"{bits} of 64 hash bits differ, correlation {correlation:.2f}{more}"
    if not count:
        why += ", but only of the background: what stands before it is not the same"
    evidence = {"hash_bits": float(bits), "correlation": correlation, "pairs": float(count)}
    return Finding("frame", side_of(one), side_of(other), why, evidence)


def _background(lake: Lake, oids: Sequence[Oid]) -> Vectors | None:
    """What all frames of a recording share; None where there are too few of them to tell."""
    if len(oids) < _MIN_BACKGROUND_FRAMES:
        return None
    return np.asarray(np.median(descriptors(lake, oids), axis=0), dtype=np.float32)


def _moved_alike(here: Vectors, ours: Vectors | None, there: Vectors, theirs: Vectors | None) -> npt.NDArray[np.bool_]:
    """Which pairs of frames are alike not only for their background: bool [here, there]."""
    if ours is None or theirs is None:
        return np.ones((len(here), len(there)), np.bool_)
    here, there = here - ours, there - theirs
    sizes = np.linalg.norm(here, axis=1)[:, None], np.linalg.norm(there, axis=1)[None, :]
    noise = np.minimum(*sizes) < _MIN_RESIDUAL
    return np.asarray(noise | (here @ there.T >= RESIDUAL_CORRELATION * sizes[0] * sizes[1]))


def descriptors(lake: Lake, oids: Sequence[Oid]) -> Vectors:
    """What frames show (`details`): float32 [n, 4096]. Kept in the cache by oid."""
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
    small = np.asarray(cv2.resize(grey, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return np.asarray(details(small[None])[0], dtype=np.float16)


def _keep(path: Path, vector: npt.NDArray[np.float16]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.{os.urandom(4).hex()}.npy")
    np.save(part, vector)
    part.replace(path)
