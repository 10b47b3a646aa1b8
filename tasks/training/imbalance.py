"""Classes of very different frequency: which pictures an epoch shows, and how much each class weighs. NumPy alone.

An epoch keeps its length: as many pictures as there are, and so as many steps. What changes is which pictures these
are. No file is copied, and everything random follows from the seed that is handed in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RARE = 0.5
"""A class is rare where it has less than such a share of the commonest class's objects."""


def repeat_factors(classes_of: Sequence[Collection[int]], threshold: float) -> Floats:
    """How often each picture is wanted, in relation to one of common classes alone.

    r(I) = max over the classes c of I of max(1, sqrt(t / f_c)), f_c being the share of the pictures that have c:
    repeat-factor sampling of Gupta, Dollár and Girshick 2019, LVIS, arXiv:1908.03195, section 6.

    Args:
        classes_of: Of each picture the classes that are in it.
        threshold: t, from 0 (all are wanted alike) to 1.

    Returns:
        float64 [pictures], from 1.
    """
    counts: dict[int, int] = {}
    for classes in classes_of:
        for each in set(classes):
            counts[each] = counts.get(each, 0) + 1
    wanted = {each: max(1.0, (threshold * len(classes_of) / count) ** 0.5) for each, count in counts.items()}
    return np.array([max((wanted[each] for each in classes), default=1.0) for classes in classes_of])


def drawn(factors: Floats, random: np.random.Generator) -> list[int]:
    """As many pictures as there are, in random order: each as often as its factor is of the mean, rounded at random.

    Systematic sampling: a picture that is due 1.4 times is drawn once or twice, never more, and 1.4 times on average.
    """
    shuffled = random.permutation(len(factors))  # else neighbours would share their luck
    due = np.cumsum(factors[shuffled]) * (len(factors) / factors.sum())
    places = np.searchsorted(due, np.arange(len(factors)) + random.random(), side="right")
    chosen: list[int] = random.permutation(shuffled[np.minimum(places, len(factors) - 1)]).tolist()
    return chosen


def with_every_class(
    order: Sequence[int], batch: int, classes_of: Sequence[Collection[int]], random: np.random.Generator
) -> list[int]:
    """The same order, where each batch gets a picture of every class for which it has room, rarest class first.

    A picture that brings what a batch lacks takes the place of one that the batch can spare; the pictures of a class
    take turns.

    Args:
        order: Pictures of an epoch, batch after batch.
        batch: Pictures in a batch.
        classes_of: Of each picture the classes that are in it.
        random: Shuffles the turns.
    """
    holders: dict[int, list[int]] = {}
    for picture, classes in enumerate(classes_of):
        for each in set(classes):
            holders.setdefault(each, []).append(picture)
    rarest_first = sorted(holders, key=lambda each: (len(holders[each]), each))
    turns = {each: random.permutation(holders[each]).tolist() for each in rarest_first}
    taken = dict.fromkeys(rarest_first, 0)
    result: list[int] = []
    for start in range(0, len(order), batch):
        pictures = list(order[start : start + batch])
        settled: set[int] = set()
        for each in rarest_first:
            if not any(each in classes_of[picture] for picture in pictures):
                place = _spare(pictures, settled, classes_of)
                if place is None:
                    break
                pictures[place] = turns[each][taken[each] % len(turns[each])]
                taken[each] += 1
            settled.add(each)
        result += pictures
    return result


def _spare(pictures: Sequence[int], settled: Collection[int], classes_of: Sequence[Collection[int]]) -> int | None:
    """The last place of a batch whose picture is not the only one of a settled class; None: there is none."""
    for place in range(len(pictures) - 1, -1, -1):
        others = {each for at, picture in enumerate(pictures) if at != place for each in classes_of[picture]}
        if all(each in others for each in settled):
            return place
    return None


class Mixture:
    """Which pictures an epoch shows, in which order.

    Args:
        classes_of: Of each picture the classes that are in it.
        threshold: Of `repeat_factors`; 0: every picture once.
        batch: Pictures in a batch of which each class is to have one; 0: batches are as they fall.
    """

    def __init__(self, classes_of: Sequence[Collection[int]], threshold: float, batch: int = 0) -> None:
        self.classes_of, self.batch = [frozenset(classes) for classes in classes_of], batch
        self.factors = repeat_factors(self.classes_of, threshold)

    def epoch(self, seed: int) -> list[int]:
        """The pictures of one epoch, which follow from the seed alone; as many as there are."""
        random = np.random.default_rng(seed)
        order = drawn(self.factors, random)
        return with_every_class(order, self.batch, self.classes_of, random) if self.batch else order


def balanced_weights(counts: Floats) -> Floats:
    """Weights by inverse frequency, their mean 1. A class without objects weighs as much as those that have some."""
    return _with_mean_1(counts, 1.0 / np.maximum(counts, 1.0))


def effective_weights(counts: Floats, beta: float) -> Floats:
    """Weights by the effective number of objects, their mean 1.

    (1 - beta) / (1 - beta^n): Cui et al. 2019, arXiv:1901.05555, equation 4. With beta 0 all weigh the same; the
    nearer it is to 1, the nearer the weights are to inverse frequency.
    """
    return _with_mean_1(counts, (1.0 - beta) / -np.expm1(np.maximum(counts, 1.0) * np.log(beta)) if beta else counts**0)


def _with_mean_1(counts: Floats, weights: Floats) -> Floats:
    there = counts > 0
    if not there.any():
        return np.ones_like(counts)
    filled = np.where(there, weights, weights[there].mean())
    found: Floats = filled / filled.mean()
    return found


def named_weights(weights: Mapping[str, float], names: Sequence[str]) -> Floats:
    """Weights that are named, as they are; 1 for a class that is not."""
    return np.array([weights.get(name, 1.0) for name in names])


def rare_classes(counts: Floats) -> frozenset[int]:
    """The classes that have less than `RARE` of the commonest class's objects, of those that have some."""
    return frozenset(int(each) for each in np.flatnonzero((counts > 0) & (counts < RARE * counts.max(initial=0.0))))
