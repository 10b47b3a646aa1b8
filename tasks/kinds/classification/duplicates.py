"""Pictures that show the same and are labelled differently: one of the two labels is wrong, and nobody knows which.

Pictures are the same where their bytes are, and nearly the same by `tasks.leakage.copies`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tasks.leakage.copies import correlate, near_pairs
from tasks.leakage.frame_matching import describe
from tasks.schemas import Frame, Oid

Says = Mapping[str, Hashable]
"""Question -> answer. Two people contradict each other where they answer one question differently."""


@dataclass(frozen=True)
class Labelled:
    """What one person said of one frame.

    Attributes:
        key: Of the frame.
        says: What.
        newest: Whether, of several on this frame, it is the one that counts.
    """

    key: Hashable
    frame: Frame
    says: Says
    newest: bool


@dataclass(frozen=True)
class Contradiction:
    """Where a label's partner stands, by its place among the labels.

    Attributes:
        same_bytes: Whether the pictures are the same file, and not only alike.
    """

    partner: int
    same_bytes: bool


def contradictions(labels: Sequence[Labelled], picture: Callable[[Oid], bytes]) -> dict[int, Contradiction]:
    """Labels that another picture, which shows the same, contradicts.

    A label is contradicted where none on the other picture agrees with it, or where of both pictures those that count
    differ: people who disagree on one picture are no contradiction between two.

    Args:
        labels: All there are; several may be of one frame.
        picture: Gives an image's bytes.

    Returns:
        Place of a label -> its contradiction: of the same bytes if there is one, else the first.
    """
    by_frame: dict[Hashable, list[int]] = defaultdict(list)
    for number, label in enumerate(labels):
        by_frame[label.key].append(number)
    frames = {key: labels[own[0]].frame for key, own in by_frame.items()}
    found: dict[int, Contradiction] = {}
    for one, other, same_bytes in _alike(frames, by_frame, labels, picture):
        for own, others in ((one, other), (other, one)):
            for number in by_frame[own]:
                partner = _contradicting(number, by_frame[others], labels)
                if partner is not None and (number not in found or (same_bytes and not found[number].same_bytes)):
                    found[number] = Contradiction(partner, same_bytes)
    return found


def differ(one: Says, other: Says) -> bool:
    """Whether two people answer a question differently that both answered."""
    return any(one[name] != other[name] for name in one.keys() & other.keys())


def _contradicting(number: int, others: Sequence[int], labels: Sequence[Labelled]) -> int | None:
    own = labels[number]
    against = [each for each in others if differ(own.says, labels[each].says)]
    if len(against) == len(others):
        return against[0]
    return next((each for each in against if own.newest and labels[each].newest), None)


def _alike(
    frames: dict[Hashable, Frame],
    by_frame: dict[Hashable, list[int]],
    labels: Sequence[Labelled],
    picture: Callable[[Oid], bytes],
) -> Iterator[tuple[Hashable, Hashable, bool]]:
    """Pairs of frames that show the same, and on which somebody says different things."""
    keys = list(frames)

    @lru_cache(maxsize=4096)
    def small(oid: Oid) -> NDArray[np.float32]:
        return describe(np.frombuffer(picture(oid), np.uint8), oid).astype(np.float32)

    hashes = np.array([int(frames[key].phash, 16) for key in keys], dtype=np.uint64)
    near = sorted(pair for places in near_pairs(hashes) for pair in zip(*(own.tolist() for own in places), strict=True))
    for first, second in near:
        one, other = keys[first], keys[second]
        if not any(differ(labels[a].says, labels[b].says) for a in by_frame[one] for b in by_frame[other]):
            continue
        oids = frames[one].oid, frames[other].oid
        if oids[0] == oids[1]:
            yield one, other, True
        elif correlate(small(oids[0]), small(oids[1])):
            yield one, other, False
