"""The close check of two recordings: do the same things move in the same way?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.leakage.thumbnails import (
    MOVING_FRAMES,
    SIDE_PX,
    STILL,
    Clip,
    Vectors,
    background,
    details,
    motion,
    units,
)

MOVING_CORRELATION = 0.5
MOMENTS = 3
CERTAIN_CORRELATION = 0.75
STILL_CORRELATION = 0.93
"""The correlation of whole pictures in which nothing moves. Below it, they may share one microscope's dirt only; copies
have more."""
_ANCHORS, _FEW_ANCHORS = 256, 48
_COARSE, _FINE = range(-4, 5, 2), range(-1, 2)
_TOLERANCE_S, _TOLERANCE_FRAMES = 0.1, 2


@dataclass(frozen=True)
class PairCheck:
    """What two clips have in common.

    Attributes:
        same: Whether they are one clip.
        moments: How many of the looked-up frames were found in the other clip at one and the same offset.
        looked_up: How many frames were looked up.
        correlation: The correlation of the best pair of frames.
        one: The frame index of that pair in the first clip.
        other: The frame index in the second.
        offset_s: The second clip's time less the first's; None where there is no time.
        moving: Whether moving things were compared (else whole pictures, as nothing moves).
        alike: Whether they are not the same, but as still pictures too much alike to be told apart.
    """

    same: bool
    moments: int
    looked_up: int
    correlation: float
    one: int
    other: int
    offset_s: float | None
    moving: bool
    alike: bool = False


def check_pair(one: Clip, other: Clip, *, search: bool = False) -> PairCheck:
    """Compare two clips, of which the thumbnails show the same part.

    Frames spread over the first are looked up among all of the second. They count where they agree on the offset in
    time (or in frames, where a copy was given another rate): `MOMENTS` of them at `MOVING_CORRELATION`, or a single
    one at `CERTAIN_CORRELATION`, make it the same clip. Where nothing moves, it takes `STILL_CORRELATION`.

    Args:
        one: The first clip.
        other: The second.
        search: Try displacements of up to 4 of the 64 pixels too: parts of pictures were matched by features of
            another moment, and the stage may have drifted since.
    """
    found = _compare(one, other, details(other.thumbs), _ANCHORS)
    if found.same or not search:
        return found
    best, x, y = _best(one, other, [(x, y) for x in _COARSE for y in _COARSE])
    finer, _, _ = _best(one, other, [(x + right, y + down) for right in _FINE for down in _FINE])
    return max(found, best, finer, key=_strength)


def _best(one: Clip, other: Clip, displacements: list[tuple[int, int]]) -> tuple[PairCheck, int, int]:
    """Return the strongest check, and its displacement."""
    tried = [(_compare(one, other, details(_moved(other.thumbs, x, y)), _FEW_ANCHORS), x, y) for x, y in displacements]
    return max(tried, key=lambda own: _strength(own[0]))


def _strength(check: PairCheck) -> tuple[bool, int, float]:
    return check.same, check.moments, check.correlation


def _moved(thumbs: npt.NDArray[np.uint8], x: int, y: int) -> npt.NDArray[np.uint8]:
    """Displace pictures; what comes in at a side repeats the border."""
    side = np.arange(SIDE_PX)
    return thumbs[:, np.clip(side + y, 0, SIDE_PX - 1)[:, None], np.clip(side + x, 0, SIDE_PX - 1)[None, :]]


def _compare(one: Clip, other: Clip, theirs: Vectors, anchors: int) -> PairCheck:
    ours = details(one.thumbs)
    moving = _moves(one) and _moves(other)
    if moving:
        ours, theirs = units(ours - background(ours)), units(theirs - background(theirs))
    looked_up = np.unique(np.linspace(0, max(0, len(ours) - 1), anchors).astype(int))[: len(ours)]
    if not len(ours) or not len(theirs):
        return PairCheck(False, 0, 0, 0.0, 0, 0, None, moving)
    correlations = ours[looked_up] @ theirs.T
    found = correlations.argmax(axis=1)
    values = correlations[np.arange(len(looked_up)), found]
    best = int(values.argmax())
    good = values >= (MOVING_CORRELATION if moving else STILL_CORRELATION)
    agreeing = _agreeing(one, other, looked_up[good], found[good])
    needed = min(MOMENTS, len(ours), len(theirs))
    certain = bool(values[best] >= CERTAIN_CORRELATION)
    same = agreeing >= needed or (certain if moving else bool(good[best]))
    offset_s = float(other.pts_s[found[best]] - one.pts_s[looked_up[best]])
    return PairCheck(
        same=same,
        moments=max(agreeing, int(same)),
        looked_up=len(looked_up),
        correlation=round(float(values[best]), 4),
        one=int(one.indices[looked_up[best]]),
        other=int(other.indices[found[best]]),
        offset_s=None if np.isnan(offset_s) else round(offset_s, 4),
        moving=moving,
        alike=certain and not same,
    )


def _moves(clip: Clip) -> bool:
    return len(clip.thumbs) >= MOVING_FRAMES and motion(clip.thumbs) >= STILL


def _agreeing(one: Clip, other: Clip, ours: npt.NDArray[np.int64], theirs: npt.NDArray[np.int64]) -> int:
    """Count the pairs of frames that lie at one offset, in time or in frames, whichever gives more."""
    if not len(ours):
        return 0
    most = 0
    for here, there, tolerance in (
        (one.pts_s, other.pts_s, _TOLERANCE_S),
        (one.indices, other.indices, _TOLERANCE_FRAMES),
    ):
        offsets = np.sort((there[theirs] - here[ours]).astype(float))
        if np.isnan(offsets).any():
            continue
        ends = np.searchsorted(offsets, offsets + 2 * tolerance, side="right")
        most = max(most, int((ends - np.arange(len(offsets))).max()))
    return most
