"""Suspects by local features: recordings of different splits of which one shows a part of the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.leakage.features import Features
from tasks.leakage.nearby import keys_of
from tasks.leakage.signatures import Signature
from tasks.leakage.thumbnails import Region
from tasks.schemas import Oid

INLIERS = 20
"""So many features must agree on one displacement and scale."""
_VOTES = 8
_TABLES, _KEY_BITS = 20, 32
_COMMON = 32  # what is seen more often belongs to the microscope, and does not distinguish recordings
_CELLS = 24  # across the longer side; cells are two of them wide
_SCALES = tuple(1.08**power for power in range(-7, 8))  # up to 40 % of a side cut off
_RANSAC_PX, _TURN, _LARGEST_ZOOM = 4.0, 0.05, 3.0
_SAME_PLACE, _LEAST_PART = 0.03, 0.2
Pair = tuple[Oid, Oid]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Overlap:
    """Which part of one recording's picture is which part of the other's, and how many features agree on it."""

    one: Region
    other: Region
    inliers: int


FindOverlap = Callable[[Pair], Overlap | None]


def suspects(
    signed: Mapping[Oid, Signature], splits: Mapping[Oid, str], find: FindOverlap | None = None
) -> dict[Pair, Overlap]:
    """Find pairs of recordings of different splits that show parts of one another.

    Features that agree without any displacement do not count: whole pictures are compared by what moves in them, and
    dirt that stays in one place belongs to the microscope.

    Args:
        signed: Signatures by recording.
        splits: Each recording's split.
        find: Finds where two recordings overlap, the lower oid first; None: by `overlap_in`, each time.

    Returns:
        For each pair, the lower oid first, where it overlaps.
    """
    recordings = sorted(recording for recording, own in signed.items() if len(own.features.points))
    names = sorted(set(splits.values()))
    split = np.array([names.index(splits[recording]) for recording in recordings], np.int64)
    agreeing = _agreeing([signed[recording].features for recording in recordings], split)
    pairs = [(recordings[one], recordings[other]) for one, other in agreeing]
    found = {pair: find(pair) if find else overlap_in(signed, pair) for pair in pairs}
    return {pair: overlap for pair, overlap in found.items() if overlap is not None}


def overlap_in(signed: Mapping[Oid, Signature], pair: Pair) -> Overlap | None:
    """Find where two of the recordings show the same, by their signatures."""
    return overlap_of(signed[pair[0]].features, signed[pair[1]].features)


def _agreeing(features: Sequence[Features], split: Numbers) -> list[tuple[int, int]]:
    """Find recordings of different splits with enough similar features at one displacement and scale; their numbers.

    Two features are similar if they have an equal key in one of 20 tables, a key being 32 of the descriptor's 256 bits.
    Each such pair of features votes, for each scale, for the cell in which the displacement lies (a Hough transform):
    features of one picture gather in one cell, those that only resemble each other (as biological cells do) scatter.
    """
    if len(set(split.tolist())) < 2:
        return []
    of = np.repeat(np.arange(len(features)), [len(own.points) for own in features])
    descriptors = np.concatenate([own.descriptors for own in features])
    # In units of the longer side, so that it does not matter whether what was cut was then enlarged again.
    places = np.concatenate([own.points / max(own.size_px) for own in features])
    generator = np.random.default_rng(2)
    met = [np.empty(0, np.int64)]
    for _ in range(_TABLES):
        keys = keys_of(descriptors, generator.choice(256, _KEY_BITS, replace=False))
        ones, others = _with_equal_keys(keys)
        apart = split[of[ones]] != split[of[others]]
        apart &= np.abs(places[ones] - places[others]).max(axis=1) >= _SAME_PLACE
        met.append(ones[apart] * len(of) + others[apart])
    matches = np.unique(np.concatenate(met))
    ones, others = matches // len(of), matches % len(of)
    pairs = of[ones] * len(features) + of[others]
    found: set[int] = set()
    for scale in _SCALES:
        shift = places[others] - scale * places[ones]
        cells = np.floor(shift * _CELLS).astype(np.int64) + 4 * _CELLS
        for offset in (0, 1):  # cells that overlap by half, lest a border divide them
            cell = (cells[:, 0] + offset) // 2 * 8 * _CELLS + (cells[:, 1] + offset) // 2
            place, votes = np.unique(pairs * (64 * _CELLS**2) + cell, return_counts=True)
            found.update((place[votes >= _VOTES] // (64 * _CELLS**2)).tolist())
    return [(pair // len(features), pair % len(features)) for pair in sorted(found)]


def _with_equal_keys(keys: npt.NDArray[np.uint32]) -> tuple[Numbers, Numbers]:
    """Pair the features that have an equal key, the lower number first; keys that too many have are left out."""
    order = np.argsort(keys, kind="stable")
    in_order = keys[order]
    starts = np.flatnonzero(np.diff(in_order, prepend=in_order[:1] ^ np.uint32(1)))
    sizes = np.diff(starts, append=len(keys))
    ones, others = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for size in range(2, _COMMON + 1):
        members = order[starts[sizes == size][:, None] + np.arange(size)]
        first, second = np.triu_indices(size, 1)
        ones.append(members[:, first].ravel())
        others.append(members[:, second].ravel())
    return np.concatenate(ones), np.concatenate(others)


def overlap_of(one: Features, other: Features) -> Overlap | None:
    """Find where two recordings' pictures show the same, by the best of their stills.

    Returns:
        None where they share nothing, or only what stands in the same place in both.
    """
    best: Overlap | None = None
    for ours in range(int(one.still.max()) + 1):
        for theirs in range(int(other.still.max()) + 1):
            found = _agreement(one, one.still == ours, other, other.still == theirs)
            if found is not None and (best is None or found.inliers > best.inliers):
                best = found
    return best


def _agreement(
    one: Features, ours: npt.NDArray[np.bool_], other: Features, theirs: npt.NDArray[np.bool_]
) -> Overlap | None:
    import cv2

    if min(int(ours.sum()), int(theirs.sum())) < INLIERS:
        return None
    matcher = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True)
    matches = matcher.match(one.descriptors[ours], other.descriptors[theirs])
    if len(matches) < INLIERS:
        return None
    here = one.points[ours][[match.queryIdx for match in matches]]
    there = other.points[theirs][[match.trainIdx for match in matches]]
    cv2.setRNGSeed(0)
    # Upright, but each side with a scale of its own: what was cut off is at times made up for by stretching.
    matrix, agreeing = cv2.estimateAffine2D(here, there, ransacReprojThreshold=_RANSAC_PX)
    if matrix is None or int(agreeing.sum()) < INLIERS:
        return None
    scale, shift = np.diag(matrix[:, :2]).copy(), matrix[:, 2]
    turned = max(abs(float(matrix[0, 1])), abs(float(matrix[1, 0]))) > _TURN * float(scale.max())
    if turned or not 1 / _LARGEST_ZOOM < float(scale.min()) <= float(scale.max()) < _LARGEST_ZOOM:
        return None
    return _overlap(one.size_px, other.size_px, scale, shift, int(agreeing.sum()))


def _overlap(
    one: tuple[int, int],
    other: tuple[int, int],
    scale: npt.NDArray[np.float64],
    shift: npt.NDArray[np.float64],
    inliers: int,
) -> Overlap | None:
    """Compute the common part, where x of the other = scale x + shift, in pixels and for each axis."""
    ours, theirs = np.array(one, float), np.array(other, float)
    corners = np.array([[0, 0], ours])
    displaced = np.abs(corners * scale + shift - corners * theirs / ours).max() / float(np.hypot(*theirs))
    if displaced < _SAME_PLACE:
        return None
    start, end = np.maximum(0, -shift / scale), np.minimum(ours, (theirs - shift) / scale)
    if bool((end <= start).any()):
        return None
    region, onto = (start / ours, end / ours), ((start * scale + shift) / theirs, (end * scale + shift) / theirs)
    parts = [float(np.prod(np.clip(b, 0, 1) - np.clip(a, 0, 1))) for a, b in (region, onto)]
    if min(parts) < _LEAST_PART:
        return None
    return Overlap(_region(*region), _region(*onto), inliers)


def _region(start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]) -> Region:
    left, top = np.clip(start, 0, 1).round(4).tolist()
    right, bottom = np.clip(end, 0, 1).round(4).tolist()
    return left, top, right, bottom
