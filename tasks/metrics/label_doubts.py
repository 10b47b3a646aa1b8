"""Labels of objects that models contradict which have not learned from their images: where a person should look again.

Three sorts, each found by one model and confirmed by every other that was asked about the image:

    unlabelled   a confident prediction that no label comes near (IoU below `NEAR`): perhaps a label is missing
    otherwise    a confident prediction that lies on a label of another class (IoU from `FOUND`), and that nobody finds
                 by its own name: perhaps the label names the wrong class
    unfound      any other label that no model finds, however low it scores: perhaps there is nothing

"Confident" needs no number that anybody sets: a prediction is, if its score is at least the median score of what this
model got right. A model that is wrong in the same place as another is not thereby right: all of this is worth a look,
and none of it is an error of a label. (Confident learning, Northcutt et al. 2021, asks the same of whole pictures.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tasks.metrics.error_kinds import FOUND, Named
from tasks.metrics.matching import BoolArray, IntArray, Pairs

LEAST_FOUND = 0.5
"""A model that finds less of the labels it is asked about says nothing by finding one not."""
Sort = Literal["unlabelled", "otherwise", "unfound"]


@dataclass(frozen=True)
class Look:
    """What one model predicted of the images that it was asked about.

    Attributes:
        objects: Its predictions.
        pairs: Which of them overlap with which labels, from `NEAR` on, whatever their classes.
        images: bool [I], which images it was asked about.
        threshold: From which score on its predictions are shown.
    """

    objects: Named
    pairs: Pairs
    images: BoolArray
    threshold: float


@dataclass(frozen=True)
class Doubt:
    """A place to look at again.

    Attributes:
        sort: Of the three.
        image: Index of the image.
        truth: The label, by its place; -1 = there is none.
        prediction: Of the first model that was asked, by its place; -1 = there is none.
        look: That model's place among the looks.
        score: Of that prediction; of a label that nobody found, the highest of its class that comes near it (IoU from
            `NEAR`).
        models: How many were asked about the image, and agree.
    """

    sort: Sort
    image: int
    truth: int
    prediction: int
    look: int
    score: float
    models: int


Overlap = Callable[[int, int], Pairs]
"""Two looks by their places -> which of their predictions overlap with `FOUND` or more: the first's, the second's."""


def find_doubts(looks: Sequence[Look], truth: Named, overlap: Overlap) -> list[Doubt]:
    """Find what every model that was asked contradicts.

    Args:
        looks: Of models that have not learned from these images.
        truth: The labels.
        overlap: Compares two looks; only asked where two were asked about one image.

    Returns:
        The most certain first: by falling score what is not labelled so, then what nobody finds by rising score.
    """
    asked = np.sum([look.images for look in looks], axis=0) if looks else np.zeros(0, dtype=np.int64)
    doubtful = [_contradicting(look, truth) for look in looks]
    found = [
        doubt
        for sort, place in (("unlabelled", 0), ("otherwise", 1))
        for doubt in _agreed(sort, looks, [each[place] for each in doubtful], overlap, asked)  # type: ignore[arg-type]
    ]
    found.sort(key=lambda doubt: (-doubt.score, doubt.image))
    named = {doubt.truth for doubt in found}
    unfound = [doubt for doubt in _unfound(looks, truth, asked) if doubt.truth not in named]
    return found + sorted(unfound, key=lambda doubt: (doubt.score, doubt.image))


def _confident(look: Look, truth: Named) -> BoolArray:
    """bool [D]; nothing where the model gets nothing right."""
    same = look.objects.label[look.pairs.prediction] == truth.label[look.pairs.truth]
    right = np.unique(look.pairs.prediction[same & (look.pairs.iou >= FOUND)])
    shown = right[look.objects.score[right] >= look.threshold]
    if not len(shown):
        return np.zeros(len(look.objects.score), dtype=np.bool_)
    least = max(look.threshold, float(np.median(look.objects.score[shown])))
    return np.asarray(look.objects.score >= least)


def _contradicting(look: Look, truth: Named) -> tuple[dict[int, int], dict[int, int]]:
    """Confident predictions where nothing is labelled, and those on a label of another class: place -> label (-1)."""
    sure, pairs = _confident(look, truth), look.pairs
    near = np.zeros(len(sure), dtype=np.bool_)
    near[pairs.prediction] = True
    unlabelled = {int(d): -1 for d in np.flatnonzero(sure & ~near)}
    same = look.objects.label[pairs.prediction] == truth.label[pairs.truth]
    on = (pairs.iou >= FOUND) & ~truth.crowd[pairs.truth]
    shown = look.objects.score[pairs.prediction] >= look.threshold
    by_its_name = set(pairs.truth[on & same & shown].tolist())
    has_own = set(pairs.prediction[on & same].tolist())
    otherwise: dict[int, int] = {}
    order = np.argsort(-pairs.iou, kind="stable")
    for p in order[(on & ~same & sure[pairs.prediction])[order]]:
        d, g = int(pairs.prediction[p]), int(pairs.truth[p])
        if d not in has_own and g not in by_its_name:
            otherwise.setdefault(d, g)
    return unlabelled, otherwise


def _agreed(
    sort: Sort, looks: Sequence[Look], doubtful: Sequence[dict[int, int]], overlap: Overlap, asked: IntArray
) -> Iterator[Doubt]:
    """Those of the first model asked about an image that each other one asked about it confirms."""
    taken = np.zeros(len(asked), dtype=np.bool_)
    for place, (look, own) in enumerate(zip(looks, doubtful, strict=True)):
        first = look.images & ~taken
        taken |= look.images
        mine = {d: g for d, g in own.items() if first[look.objects.image[d]]}
        for other in range(len(looks)):
            both = first & looks[other].images
            if other == place or not both.any() or not mine:
                continue
            pairs = overlap(place, other)
            one, two = look.objects, looks[other].objects
            confirmed = {
                int(d)
                for d, e in zip(pairs.prediction, pairs.truth, strict=True)
                if int(e) in doubtful[other] and one.label[d] == two.label[e]
            }
            mine = {d: g for d, g in mine.items() if not both[one.image[d]] or d in confirmed}
        for d, g in mine.items():
            image = int(look.objects.image[d])
            yield Doubt(sort, image, g, d, place, float(look.objects.score[d]), int(asked[image]))


def _unfound(looks: Sequence[Look], truth: Named, asked: IntArray) -> Iterator[Doubt]:
    """Labels that no model finds which finds most of what it is asked about."""
    found = np.zeros(len(truth.label), dtype=np.bool_)
    highest, believed = np.zeros(len(truth.label)), np.zeros_like(asked)
    for look in looks:
        pairs = look.pairs
        same = look.objects.label[pairs.prediction] == truth.label[pairs.truth]
        np.maximum.at(highest, pairs.truth[same], look.objects.score[pairs.prediction[same]])
        own = np.zeros(len(truth.label), dtype=np.bool_)
        own[pairs.truth[same & (pairs.iou >= FOUND)]] = True
        found |= own
        there = look.images[truth.image] & ~truth.crowd
        if there.any() and own[there].mean() >= LEAST_FOUND:
            believed = believed + look.images
    for g in np.flatnonzero(~found & ~truth.crowd):
        image = int(truth.image[g])
        if len(believed) and believed[image]:
            yield Doubt("unfound", image, int(g), -1, -1, float(highest[g]), int(believed[image]))
