"""Frames of the dataset that show nearly the same, where what moves in their recordings does not settle it.

Stills, folders of images, very short clips, and clips in which nothing moves. Three steps of rising cost:

1. perceptual hashes at most `HASH_BITS` bits apart make a pair a suspect;
2. suspects are decoded, reduced to 64 x 64, freed of illumination (high-pass), and correlated;
3. a fixed background (dirt, a grid) alone can correlate. Where both recordings have frames enough to know theirs (the
   median), it is subtracted, and what remains, the objects, must correlate too. Where nothing remains, they must be
   as alike as copies are, and so must two stills: crops of cells, each in the middle of its picture, correlate.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.errors import IntegrityError
from tasks.lake import Lake
from tasks.leakage.exact import Row, side_of
from tasks.leakage.findings import Finding
from tasks.leakage.nearby import within
from tasks.leakage.signatures import Signature
from tasks.leakage.thumbnails import SIDE_PX, Vectors, details
from tasks.schemas import STILL, Oid
from tasks.whole_files import written_whole

HASH_BITS = 11
CORRELATION = 0.75
RESIDUAL_CORRELATION = 0.5
COPY_CORRELATION, COPY_BITS = 0.93, 10
"""Copies of one still picture correlate at least so much, and differ in at most so many bits. Where nothing moves, less
may be due to the dirt alone."""
_AT_ONCE = 512
_MIN_BACKGROUND_FRAMES = 5
_MIN_RESIDUAL = 0.1  # of the high-pass energy: below it everything stands still, and the residual is noise
Pair = tuple[Oid, Oid]
Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def suspects(frames: Sequence[Row], signed: Mapping[Oid, Signature]) -> dict[Pair, tuple[Numbers, Numbers]]:
    """Find frames of different splits whose hashes are close, by pairs of recordings.

    Args:
        frames: Rows with split, recording_id, phash.
        signed: Signatures: two recordings that move are compared by that, and one that clearly moves is no copy of one
            that stands still.

    Returns:
        For each pair of recordings the numbers of its frames that are in any such pair of frames.
    """
    if not frames:
        return {}
    # Frames of one recording with one hash are looked up as one.
    every = np.array([int(frame["phash"], 16) for frame in frames], dtype=np.uint64)
    owners = np.stack([_numbers(frames, "split"), _numbers(frames, "recording_id")]).astype(np.uint64)
    _, first, inverse = np.unique(np.stack([*owners, every]), axis=1, return_index=True, return_inverse=True)
    number = inverse.ravel()
    hashes, (splits, recordings) = every[first], owners[:, first].astype(np.int64)
    kinds = {recording: _kind(own) for recording, own in signed.items()}
    kind = np.array([kinds.get(frames[at]["recording_id"], 0) for at in first.tolist()], dtype=np.int64)
    count, width = len(first), int(recordings.max(initial=0)) + 1
    met = [np.empty(0, np.int64)]
    for ours, theirs in _to_compare(splits, kind):
        for one, other in within(hashes[ours], hashes[theirs], HASH_BITS):
            apart = recordings[ours[one]] != recordings[theirs[other]]
            mine, yours = ours[one[apart]], theirs[other[apart]]
            low = np.minimum(recordings[mine], recordings[yours])
            pairs = low * width + np.maximum(recordings[mine], recordings[yours])
            met.append(np.unique(np.concatenate([pairs * count + mine, pairs * count + yours])))
    both = np.unique(np.concatenate(met))
    recording_of = recordings[number]
    members = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number, minlength=count))[:-1])
    found = {}
    for _, start, end in _runs(both // count):
        chosen = both[start:end] % count
        own = np.sort(np.concatenate([members[at] for at in chosen.tolist()]))
        of_one = recording_of[own] == recording_of[own[0]]
        one, other = own[of_one], own[~of_one]
        found[frames[one[0]]["recording_id"], frames[other[0]]["recording_id"]] = (one, other)
    return found


def all_of(frames: Sequence[Row], pair: Pair) -> tuple[Numbers, Numbers]:
    """Return all frames of two recordings, in the form in which `suspects` gives those that are alike."""
    one, other = (
        np.array([number for number, frame in enumerate(frames) if frame["recording_id"] == recording], np.int64)
        for recording in pair
    )
    return one, other


def _to_compare(splits: Numbers, kind: Numbers) -> Iterator[tuple[Numbers, Numbers]]:
    """Yield what to compare with what, by split and `_kind`: only different splits, and each two once."""
    for one in range(int(splits.max(initial=-1)) + 1):
        for other in range(int(splits.max()) + 1):
            for own, most in ((0, 3), (1, 2)):
                least = own if one < other else own + 1  # those of one kind are met from one side, not from both
                ours = np.flatnonzero((splits == one) & (kind == own))
                theirs = np.flatnonzero((splits == other) & (kind >= least) & (kind <= most))
                if one != other and len(ours) and len(theirs):
                    yield ours, theirs


def _kind(own: Signature) -> int:
    """Return 0: too short to tell; 1: stands still; 2: moves; 3: certainly moves."""
    if own.stands_still:
        return 1
    return 2 * own.moves + own.certainly_moves


def _numbers(frames: Sequence[Row], column: str) -> Numbers:
    known: dict[str, int] = {}
    return np.array([known.setdefault(frame[column], len(known)) for frame in frames], dtype=np.int64)


def _runs(values: Numbers) -> list[tuple[int, int, int]]:
    """Return each value of a sorted array, and where it starts and ends."""
    starts = np.flatnonzero(np.diff(values, prepend=-1)).tolist()
    ends = [*starts[1:], len(values)][: len(starts)]
    return list(zip(values[starts].tolist(), starts, ends, strict=True))


def alike(
    lake: Lake, frames: Sequence[Row], suspected: dict[Pair, tuple[Numbers, Numbers]]
) -> tuple[list[Finding], list[Finding], int]:
    """Check suspected frames closely.

    Returns:
        Findings that show the same, suspects that only share a background, and how many frames were decoded.
    """
    stills = _stills(lake, {recording for pair in suspected for recording in pair})
    by_recording: dict[Oid, list[Oid]] = defaultdict(list)
    for frame in frames:
        by_recording[frame["recording_id"]].append(frame["frame_oid"])
    backgrounds: dict[Oid, Vectors | None] = {}
    hashes = np.array([int(frame["phash"], 16) for frame in frames], dtype=np.uint64)
    seen = np.unique(np.concatenate([np.empty(0, np.int64), *(own for pair in suspected.values() for own in pair)]))
    shown = _load(lake, [frames[number]["frame_oid"] for number in seen.tolist()])
    found: list[Finding] = []
    ruled_out: list[Finding] = []
    for (one, other), (ours, theirs) in suspected.items():
        here, there = (shown[np.searchsorted(seen, own)].astype(np.float32) for own in (ours, theirs))
        correlations = here @ there.T
        like = correlations >= CORRELATION
        if not like.any():
            continue
        for recording in (one, other):
            if recording not in backgrounds:
                backgrounds[recording] = _background(lake, by_recording[recording])
        moved, still = _moved_alike(here, backgrounds[one], there, backgrounds[other])
        if one in stills and other in stills:  # what a microscope shows of two cells is alike: only copies count
            moved, still = np.zeros_like(moved), np.ones_like(still)
        bits = np.bitwise_count(hashes[ours][:, None] ^ hashes[theirs][None, :])
        same = like & (moved | still & (correlations >= COPY_CORRELATION) & (bits <= COPY_BITS))
        values = np.where(same if same.any() else like, correlations, -1)
        (found if same.any() else ruled_out).append(_finding(frames, ours, theirs, values, same, still))
    return found, ruled_out, len(seen)


def _finding(
    frames: Sequence[Row], ours: Numbers, theirs: Numbers, values: Vectors, same: Flags, still: Flags
) -> Finding:
    """Describe the pair of frames of two recordings that is most alike."""
    i, j = (int(number) for number in np.unravel_index(int(values.argmax()), values.shape))
    one, other, count = frames[ours[i]], frames[theirs[j]], int(same.sum())
    bits = (int(one["phash"], 16) ^ int(other["phash"], 16)).bit_count()
    correlation = round(float(values[i, j]), 4)
    more = f", {count} such pairs" if count > 1 else ""
    why = f"{bits} of 64 hash bits differ, correlation {correlation:.2f}{more}"
    if not count and still[i, j]:
        why += ", and nothing moves: they cannot be told apart by still pictures, and copies are more alike"
    elif not count:
        why += ", but only of the background: what stands before it is not the same"
    evidence = {"hash_bits": float(bits), "correlation": correlation, "pairs": float(count)}
    return Finding("frame", side_of(one), side_of(other), why, evidence)


def _stills(lake: Lake, recordings: Collection[Oid]) -> set[Oid]:
    """Those of the recordings that are single pictures, as which they were added."""
    if not recordings:
        return set()
    where = {"container": STILL, "recording_id": sorted(recordings)}
    rows = lake.tables.scan("recordings", where, columns=["recording_id"])
    return set(rows.column("recording_id").to_pylist())


def _background(lake: Lake, oids: Sequence[Oid]) -> Vectors | None:
    """Compute what all frames of a recording share; None where there are too few of them to know."""
    if len(oids) < _MIN_BACKGROUND_FRAMES:
        return None
    return np.asarray(np.median(descriptors(lake, oids), axis=0), dtype=np.float32)


def _moved_alike(here: Vectors, ours: Vectors | None, there: Vectors, theirs: Vectors | None) -> tuple[Flags, Flags]:
    """Mark pairs of frames that are alike beyond their background, and those that show nothing else: [here, there]."""
    if ours is None or theirs is None:
        known = np.zeros((len(here), len(there)), np.bool_)
        return ~known, known
    here, there = here - ours, there - theirs
    sizes = np.linalg.norm(here, axis=1)[:, None], np.linalg.norm(there, axis=1)[None, :]
    noise = np.minimum(*sizes) < _MIN_RESIDUAL
    return np.asarray(~noise & (here @ there.T >= RESIDUAL_CORRELATION * sizes[0] * sizes[1])), np.asarray(noise)


def _load(lake: Lake, oids: Sequence[Oid]) -> npt.NDArray[np.float16]:
    """Read the descriptors of many frames, each once: float16 [n, 4096], which stay on disk until they are used."""
    if not oids:
        return np.empty((0, SIDE_PX * SIDE_PX), np.float16)
    lake.settings.cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=lake.settings.cache_dir) as file:
        found = np.memmap(file, np.float16, "w+", shape=(len(oids), SIDE_PX * SIDE_PX))
        for start in range(0, len(oids), _AT_ONCE):
            found[start : start + _AT_ONCE] = descriptors(lake, oids[start : start + _AT_ONCE])
        return found


def descriptors(lake: Lake, oids: Sequence[Oid]) -> Vectors:
    """Return what frames show (`details`): float32 [n, 4096]. Descriptors are kept in the cache by oid."""
    folder = lake.settings.cache_dir / "descriptors"
    paths = {oid: folder / oid[:2] / f"{oid}.npy" for oid in oids}
    missing = [oid for oid, path in paths.items() if not path.is_file()]
    images = lake.blobs.fetch_many(missing)
    with ThreadPoolExecutor(lake.settings.workers) as threads:
        list(threads.map(lambda oid: _keep(paths[oid], describe(np.fromfile(images[oid], np.uint8), oid)), missing))
    return np.stack([np.load(paths[oid], allow_pickle=False) for oid in oids]).astype(np.float32)


def describe(data: npt.NDArray[np.uint8], oid: Oid) -> npt.NDArray[np.float16]:
    """Compute an image's descriptor: float16 [4096]; all zeros where it shows nothing.

    Args:
        data: The bytes of its file.
        oid: Of the frame, for messages.

    Raises:
        IntegrityError: It cannot be decoded.
    """
    import cv2

    grey = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if len(data) else None
    if grey is None:
        raise IntegrityError(f"frame {oid}: is not an image that can be compared", fix="remove its labelling task")
    small = np.asarray(cv2.resize(grey, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return np.asarray(details(small[None])[0], dtype=np.float16)


def _keep(path: Path, vector: npt.NDArray[np.float16]) -> None:
    with written_whole(path) as part, part.open("wb") as file:
        np.save(file, vector)
