"""Suspects by what moves: recordings of different splits that have a moment in common."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tasks.leakage.nearby import keys_of, sharing_keys
from tasks.leakage.signatures import BITS, Signature
from tasks.schemas import Oid

ENOUGH = ((28, 1), (32, 2), (36, 3))
"""Bits, of 128, and how many pairs of frames that differ in at most so many make two recordings suspects."""
_TABLES, _KEY_BITS = 24, 16
_ANCHORS = 128
Pair = tuple[Oid, Oid]


def suspects(signed: Mapping[Oid, Signature], splits: Mapping[Oid, str]) -> dict[Pair, int]:
    """Find pairs of moving recordings of different splits that share a moment, and in how few bits it differs.

    Some frames of each recording are looked up among all frames of all others, so that a moment is found however the
    clip was trimmed. Looking up is locality-sensitive hashing (Indyk and Motwani 1998): in 24 tables by 16 of the 128
    bits each. Two frames that differ in 20 bits meet in one of them with probability 0.8, in 30 bits with 0.27, and
    a clip has dozens; of unlike frames one pair in 2,700 meets.

    Args:
        signed: Signatures by recording; recordings in which nothing moves are left out.
        splits: Each recording's split.

    Returns:
        For each pair of recordings the fewest bits in which a frame of one differs from a frame of the other.
    """
    recordings = sorted(recording for recording, own in signed.items() if own.moves)
    if len({splits[recording] for recording in recordings}) < 2:
        return {}
    frames, of = _pool([signed[recording].hashes for recording in recordings])
    chosen = _anchors([signed[recording] for recording in recordings])
    names = sorted(set(splits.values()))
    split = np.array([names.index(splits[recording]) for recording in recordings], np.int8)
    pairs, bits = [np.empty(0, np.int64)], [np.empty(0, np.uint8)]
    packed = frames.view(np.uint8).reshape(len(frames), -1)
    generator = np.random.default_rng(1)
    for _ in range(_TABLES):
        keys = keys_of(packed, generator.choice(BITS, _KEY_BITS, replace=False))
        for one, other in sharing_keys(keys[chosen], keys):
            ours, theirs = of[chosen[one]], of[other]
            apart = split[ours] != split[theirs]
            one, other, ours, theirs = chosen[one][apart], other[apart], ours[apart], theirs[apart]
            differ = np.bitwise_count(frames[one] ^ frames[other]).sum(axis=1, dtype=np.uint8)
            near = differ <= ENOUGH[-1][0]
            pairs.append(np.minimum(ours, theirs)[near] * len(recordings) + np.maximum(ours, theirs)[near])
            bits.append(differ[near])
    met, number = np.unique(np.concatenate(pairs), return_inverse=True)
    differ = np.concatenate(bits)
    best, suspicious = np.full(len(met), BITS, np.uint8), np.zeros(len(met), np.bool_)
    np.minimum.at(best, number, differ)
    for most, times in ENOUGH:
        suspicious |= np.bincount(number[differ <= most], minlength=len(met)) >= times
    return {
        (recordings[pair // len(recordings)], recordings[pair % len(recordings)]): fewest
        for pair, fewest in zip(met[suspicious].tolist(), best[suspicious].tolist(), strict=True)
    }


def _pool(hashes: list[npt.NDArray[np.uint64]]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Pool the frames of all recordings, with the number of each one's recording; blank frames are left out."""
    of = np.repeat(np.arange(len(hashes)), [len(own) for own in hashes])
    frames = np.concatenate(hashes)
    shows = frames.any(axis=1)
    return np.ascontiguousarray(frames[shows]), of[shows]


def _anchors(signed: list[Signature]) -> npt.NDArray[np.int64]:
    """Choose the frames that are looked up, spread over each clip, by their numbers in the pool.

    A long clip was seen in every second, third, ... frame, and in some unbroken runs. Its frames are chosen from these
    runs: whichever frames of the other clip were seen, some of the same moments are among them.
    """
    chosen, start = [], 0
    for own in signed:
        indices = own.indices[own.hashes.any(axis=1)]
        unbroken = np.flatnonzero(np.diff(indices, append=indices[-1:] + 1) == 1) if len(indices) else np.empty(0, int)
        spread = np.unique(np.linspace(0, max(0, len(unbroken) - 1), _ANCHORS).astype(int))
        chosen.append(start + unbroken[spread] if len(unbroken) else np.empty(0, np.int64))
        start += len(indices)
    return np.concatenate(chosen)
