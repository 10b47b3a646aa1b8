"""A recording's signature: the numbers by which the same clip is found under another name.

A signature is made once, from the recording's own bytes. It holds, of every frame, 128 bits of what moves in it, and of
three frames the local features. What moves is the frame less the clip's own median: neither the microscope's dirt nor
its light is in it, so that two donors under one microscope have signatures as different as any. The bits are the signs
of 128 fixed random projections (Charikar 2002): two pictures whose vectors correlate at c differ in about 128 arccos(c)
/ pi of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.errors import NotFound
from tasks.lake import Lake
from tasks.leakage.features import Features, features_of
from tasks.leakage.thumbnails import (
    MOVING_FRAMES,
    SIDE_PX,
    STILL,
    WHOLE,
    Clip,
    Vectors,
    Viewer,
    background,
    details,
    motion,
)
from tasks.provenance import code_of
from tasks.schemas import Oid
from tasks.whole_files import written_whole

BITS = 128
_CHUNK = 512


@dataclass(frozen=True)
class Signature:
    """What is kept of one recording's appearance.

    Attributes:
        indices: int32 [n], the frames' indices.
        hashes: uint64 [n, 2], what moves in each.
        motion: How much something moves, in grey levels (`thumbnails.motion`).
        features: Local features of a few frames.
    """

    indices: npt.NDArray[np.int32]
    hashes: npt.NDArray[np.uint64]
    motion: float
    features: Features

    @property
    def moves(self) -> bool:
        """Whether what moves distinguishes this recording from others."""
        return self.motion >= STILL and len(self.indices) >= MOVING_FRAMES

    @property
    def certainly_moves(self) -> bool:
        """Whether it moves so much that no copy of it stands still, however badly it was encoded."""
        return self.moves and self.motion >= 2 * STILL

    @property
    def stands_still(self) -> bool:
        """Whether there are frames enough to know that nothing moves."""
        return not self.moves and len(self.indices) >= MOVING_FRAMES

    def encode(self) -> bytes:
        """Return the signature as the bytes of a file."""
        sink = BytesIO()
        own = self.features
        np.savez(
            sink, indices=self.indices, hashes=self.hashes, motion=np.float64(self.motion), size=np.array(own.size_px),
            still=own.still, points=own.points, descriptors=own.descriptors,
        )  # fmt: skip
        return sink.getvalue()

    @classmethod
    def decode(cls, data: bytes) -> Signature:
        """Read a signature from the bytes of a file."""
        with np.load(BytesIO(data), allow_pickle=False) as file:
            width, height = (int(side) for side in file["size"])
            features = Features((width, height), file["still"], file["points"], file["descriptors"])
            return cls(file["indices"], file["hashes"], float(file["motion"]), features)


def sign(clip: Clip) -> Signature:
    """Make the signature of a clip."""
    parts = [details(clip.thumbs[start : start + _CHUNK]) for start in range(0, len(clip.thumbs), _CHUNK)]
    vectors = np.concatenate(parts) if parts else np.empty((0, SIDE_PX * SIDE_PX), np.float32)
    moving = vectors - background(vectors) if len(vectors) else vectors
    features = features_of((clip.width_px, clip.height_px), clip.stills)
    return Signature(clip.indices.astype(np.int32), hashes_of(moving), motion(clip.thumbs), features)


def hashes_of(moving: Vectors) -> npt.NDArray[np.uint64]:
    """Compute 128 bits of each vector: uint64 [n, 2]."""
    bits = np.packbits(moving @ _projections() > 0, axis=1)
    return np.ascontiguousarray(bits).view(np.uint64).reshape(-1, BITS // 64)


@cache
def _projections() -> Vectors:
    return np.random.default_rng(0).standard_normal((SIDE_PX * SIDE_PX, BITS)).astype(np.float32)


def signatures(lake: Lake, recordings: Sequence[Oid], viewer: Viewer) -> tuple[dict[Oid, Signature], dict[Oid, str]]:
    """Return signatures of recordings: from the cache, from the lake, or made now.

    Args:
        lake: Keeps signatures by recording, so that each is made once for all lines.
        recordings: Oids of the recordings.
        viewer: Shows the recordings that have no signature yet.

    Returns:
        The signatures, and for every other recording the reason why it has none.
    """
    with ThreadPoolExecutor(lake.settings.workers * 4) as threads:
        loaded = threads.map(lambda recording: _load(lake, recording), recordings)
        found = {recording: own for recording, own in zip(recordings, loaded, strict=True) if own is not None}
    missing = [(recording, WHOLE) for recording in recordings if recording not in found]
    reasons: dict[Oid, str] = {}
    for recording, clip in viewer.watch(missing):
        if isinstance(clip, str):
            reasons[recording] = clip
            continue
        found[recording] = sign(clip)
        data = found[recording].encode()
        lake.store.put_bytes(key_of(recording), data, "application/octet-stream")
        _keep(_path(lake, recording), data)
    return found, reasons


def key_of(recording: Oid) -> str:
    """Return where a recording's signature is in the lake's bucket. The code is part of the key, so that a signature by
    other code is not found there, and is made again."""
    return f"signatures/{code_of('signature')}/{recording[:2]}/{recording}.npz"


def _path(lake: Lake, recording: Oid) -> Path:
    return lake.settings.cache_dir / key_of(recording)


def _load(lake: Lake, recording: Oid) -> Signature | None:
    path = _path(lake, recording)
    try:
        return Signature.decode(path.read_bytes())
    except FileNotFoundError:
        pass
    try:
        data = lake.store.get_bytes(key_of(recording))
    except NotFound:
        return None
    _keep(path, data)
    return Signature.decode(data)


def _keep(path: Path, data: bytes) -> None:
    with written_whole(path) as part:
        part.write_bytes(data)
