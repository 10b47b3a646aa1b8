"""Search for hashes that are near each other, without comparing all pairs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
_BANDS, _BAND_BITS = 4, 16
_CHUNK = 2**22  # pairs looked at in one go: bounds memory


def within(
    hashes: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64], bits: int
) -> Iterator[tuple[Numbers, Numbers]]:
    """Find all pairs of 64-bit hashes that differ in at most `bits` bits; exact.

    This is multi-index hashing (Norouzi et al. 2012). Cut into four bands, two hashes that differ in at most 11 bits
    differ in at most 2 in one of them. So each hash looks up, for each band, the 137 values near its own, of 65,536.
    Equal hashes are looked up once.

    Args:
        hashes: uint64 [n].
        others: uint64 [m].
        bits: At most 11.

    Yields:
        Numbers of `hashes` and of `others`, pairwise; each pair once.
    """
    (mine, my_order, my_starts), (yours, your_order, your_starts) = _collapsed(hashes), _collapsed(others)
    for one, other in _within(mine, yours, bits):
        for pair, own in _joined(np.arange(len(one)), my_starts[one], my_starts[one + 1]):
            met = other[pair]
            for number, place in _joined(np.arange(len(pair)), your_starts[met], your_starts[met + 1]):
                yield my_order[own[number]], your_order[place]


def _collapsed(hashes: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint64], Numbers, Numbers]:
    """Return each hash once, the numbers of all hashes in ascending order, and where in it those of each hash start."""
    each, starts = np.unique(np.sort(hashes), return_index=True)
    return each, np.argsort(hashes, kind="stable"), np.append(starts, len(hashes))


def _within(
    hashes: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64], bits: int
) -> Iterator[tuple[Numbers, Numbers]]:
    near = bits // _BANDS
    masks = [sum(1 << bit for bit in chosen) for k in range(near + 1) for chosen in combinations(range(_BAND_BITS), k)]
    for band in range(_BANDS):
        shift = np.uint64(band * _BAND_BITS)
        ours = (hashes >> shift & np.uint64(2**_BAND_BITS - 1)).astype(np.int64)
        theirs = (others >> shift & np.uint64(2**_BAND_BITS - 1)).astype(np.int64)
        order = np.argsort(theirs, kind="stable")
        starts = np.searchsorted(theirs[order], np.arange(2**_BAND_BITS + 1))
        for mask in masks:
            values = ours ^ mask
            for one, other in _joined(np.arange(len(hashes)), starts[values], starts[values + 1]):
                where = order[other]
                differ = hashes[one] ^ others[where]
                close = np.bitwise_count(differ) <= bits
                one, where, differ = one[close], where[close], differ[close]
                close = np.ones(len(one), np.bool_)
                for earlier in range(band):  # found there already
                    part = differ >> np.uint64(earlier * _BAND_BITS) & np.uint64(2**_BAND_BITS - 1)
                    close &= np.bitwise_count(part) > near
                yield one[close], where[close]


def _joined(numbers: Numbers, first: Numbers, end: Numbers) -> Iterator[tuple[Numbers, Numbers]]:
    """Join each number with each place from its `first` to before its `end`, a bounded number of pairs at a time."""
    sizes = end - first
    some = sizes > 0
    numbers, first, sizes = numbers[some], first[some], sizes[some]
    ends, done = np.cumsum(sizes), 0
    while done < len(numbers):
        before = int(ends[done] - sizes[done])
        stop = max(done + 1, int(np.searchsorted(ends, before + _CHUNK, side="right")))
        own = sizes[done:stop]
        offsets = np.arange(int(own.sum())) - np.repeat(ends[done:stop] - own - before, own)
        yield np.repeat(numbers[done:stop], own), np.repeat(first[done:stop], own) + offsets
        done = stop


def sharing_keys(ours: npt.NDArray[np.uint32], theirs: npt.NDArray[np.uint32]) -> Iterator[tuple[Numbers, Numbers]]:
    """Find all pairs of equal keys: numbers of `ours` and of `theirs`."""
    order = np.argsort(theirs, kind="stable")
    sorted_keys = theirs[order]
    first, end = np.searchsorted(sorted_keys, ours, "left"), np.searchsorted(sorted_keys, ours, "right")
    for one, other in _joined(np.arange(len(ours)), first, end):
        yield one, order[other]


def keys_of(bits: npt.NDArray[np.uint8], positions: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    """Read the bits at some positions as one number for each row.

    Args:
        bits: uint8 [n, bytes], packed.
        positions: Which bits, at most 32.
    """
    key = np.zeros(len(bits), np.uint32)
    for position in positions.tolist():
        bit = bits[:, position // 8] >> np.uint8(7 - position % 8) & np.uint8(1)
        key = key << np.uint32(1) | bit
    return key
