"""Near hashes are found without comparing all pairs: exactly those."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.leakage import nearby
from tasks.leakage.frame_matching import HASH_BITS
from tasks.leakage.nearby import keys_of, sharing_keys, within


@given(
    hashes=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=12),
    flips=st.lists(st.tuples(st.integers(0, 11), st.sets(st.integers(0, 63), max_size=14)), max_size=12),
)
def test_every_close_pair_of_hashes_is_found_and_no_other(hashes: list[int], flips: list[tuple[int, set[int]]]) -> None:
    near = [hashes[i % len(hashes)] ^ sum(1 << bit for bit in bits) for i, bits in flips]
    ours, theirs = np.array(hashes, np.uint64), np.array(hashes + near, np.uint64)
    found = [pair for one, other in within(ours, theirs, HASH_BITS) for pair in zip(one, other, strict=True)]
    close = np.bitwise_count(ours[:, None] ^ theirs[None, :]) <= HASH_BITS
    assert sorted(found) == sorted(zip(*np.nonzero(close), strict=True)), "each once"


def test_joining_in_pieces_loses_nothing(monkeypatch) -> None:
    generator = np.random.default_rng(0)
    ours, theirs = generator.integers(0, 20, 300, np.uint32), generator.integers(0, 20, 200, np.uint32)
    monkeypatch.setattr(nearby, "_CHUNK", 37)
    found = [pair for one, other in sharing_keys(ours, theirs) for pair in zip(one, other, strict=True)]
    assert sorted(found) == sorted(zip(*np.nonzero(ours[:, None] == theirs[None, :]), strict=True))


def test_keys_are_the_bits_in_order() -> None:
    bits = np.array([[0b10000000, 0b00000001], [0b00000000, 0b00000001]], np.uint8)
    assert keys_of(bits, np.array([0, 15, 3])).tolist() == [0b110, 0b010]
