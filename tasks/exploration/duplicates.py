"""Frames that are the same, byte for byte, or look nearly the same, in different recordings.

Nearly the same is what `tasks.leakage.copies` calls so, and two frames with near hashes that both show nothing at all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from tasks.kind import Object, Row
from tasks.leakage.copies import correlate, near_pairs
from tasks.schemas import Oid

_MOST_PAIRS = 200_000
_MOST_COMPARED = 2_000
"""Pairs with near hashes whose pictures are compared; those with different labels first."""


@dataclass(frozen=True)
class Pair:
    """Two frames of different recordings.

    Attributes:
        one, other: Places of their rows.
        bits: Of the perceptual hashes that differ; None: the same file.
        labels: Of both, in words.
    """

    one: int
    other: int
    bits: int | None
    labels: tuple[str, str]

    @property
    def labels_differ(self) -> bool:
        """Whether people called them differently."""
        return self.labels[0] != self.labels[1]


@dataclass(frozen=True)
class Duplicates:
    """What stands in a dataset more than once. Those whose labels differ come first, then the most alike.

    Attributes:
        exact: Pairs of frames that are one file.
        near: Pairs that look nearly the same.
        all_there: False: there are more pairs than were looked at.
    """

    exact: tuple[Pair, ...]
    near: tuple[Pair, ...]
    all_there: bool


def find_duplicates(
    rows: Sequence[Row],
    phash: npt.NDArray[np.uint64],
    counted: Callable[[Sequence[Object]], list[Object]],
    in_small: Callable[[Oid], npt.NDArray[np.float32] | None],
) -> Duplicates:
    """Find frames of different recordings that show the same.

    Args:
        rows: Of the manifest, `objects` parsed.
        phash: Of each row's frame.
        counted: Which objects count, by the kind's checks.
        in_small: A frame in small, as `Frames.in_small` gives it; None: it cannot be compared.
    """
    labels = [_in_words(counted(row["objects"])) for row in rows]
    recordings = [row["recording_id"] for row in rows]

    def pair(one: int, other: int, bits: int | None) -> Pair:
        return Pair(one, other, bits, (labels[one], labels[other]))

    by_oid: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        by_oid[row["frame_oid"]].append(place)
    exact = [
        pair(one, other, None)
        for places in by_oid.values()
        for one, other in combinations(places, 2)
        if recordings[one] != recordings[other]
    ]
    near: list[Pair] = []
    seen = 0
    for ones, others in near_pairs(phash):
        for one, other in zip(ones.tolist(), others.tolist(), strict=True):
            if recordings[one] != recordings[other] and rows[one]["frame_oid"] != rows[other]["frame_oid"]:
                near.append(pair(one, other, int(np.bitwise_count(phash[one] ^ phash[other]))))
        seen += len(ones)
        if seen > _MOST_PAIRS:
            break
    compared = _first(near)[:_MOST_COMPARED]
    oids = [row["frame_oid"] for row in rows]
    same = [pair for pair in compared if _look_same(in_small(oids[pair.one]), in_small(oids[pair.other]))]
    return Duplicates(_first(exact), _first(same), seen <= _MOST_PAIRS and len(near) <= _MOST_COMPARED)


def _look_same(one: npt.NDArray[np.float32] | None, other: npt.NDArray[np.float32] | None) -> bool:
    """Whether two frames in small are one; also where neither shows anything."""
    if one is None or other is None:
        return False
    return correlate(one, other) or not (one.any() or other.any())


def _in_words(objects: Sequence[Object]) -> str:
    """What a frame's labels are: each class, and how often where it is more than once."""
    counts = Counter(str(item["label"]) for item in objects)
    words = [name if count == 1 else f"{name} × {count}" for name, count in sorted(counts.items())]
    return ", ".join(words) or "no label"


def _first(pairs: list[Pair]) -> tuple[Pair, ...]:
    return tuple(sorted(pairs, key=lambda pair: (not pair.labels_differ, pair.bits or 0, pair.one, pair.other)))
