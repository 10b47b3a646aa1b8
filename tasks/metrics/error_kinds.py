"""Which errors a detector makes and what each kind costs: TIDE (Bolya et al. 2020, arXiv:2008.08115).

With `FOUND` = 0.5 and `NEAR` = 0.1 (the paper's t_f and t_b), every false positive is one of the first five, taken in
this order, and a truth that neither was found nor would be by putting one of the first two right is the sixth:

    localisation    overlaps a truth of its class with NEAR <= IoU < FOUND
    classification  overlaps a truth of another class with IoU >= FOUND
    duplicate       overlaps a truth of its class with IoU >= FOUND, which a better prediction has taken
    background      overlaps no truth with more than NEAR
    both            what is left: another class, and NEAR < IoU < FOUND
    missed          a truth that was not found

What a kind costs is the AP50 that is gained by putting right all errors of that kind and no other: a localisation or
classification error becomes a true positive where its truth is still free (of several that claim one truth, the one of
the highest score, the others go); duplicates, background and both go; a missed truth is no longer asked for.

One addition to the paper: a class in which nothing is left to be found and nothing is claimed has AP 1, so that putting
everything right always gives AP 1. What is an overlap (of boxes, of masks) is the caller's business. Segmentation,
whose main metric is no area under a curve, counts the gain in TP / (TP + FP + FN) instead (`accuracy_without`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.metrics.average_precision import average_precision
from tasks.metrics.judgement import DIGITS, ErrorKind
from tasks.metrics.matching import BoolArray, FloatArray, IntArray, Matches, Pairs

FOUND = 0.5
NEAR = 0.1

KINDS: dict[str, tuple[str, str, str]] = {
    "classification": (
        "Classification",
        "in the right place, called by another class's name",
        "See in the confusion table which classes are mixed up; label more of the rarer one, or say in the labelling "
        "guide what tells them apart.",
    ),
    "localisation": (
        "Localisation",
        "the right class, but it overlaps the label too little (IoU 0.1 to 0.5)",
        "Look whether annotators draw equally tight outlines; small objects gain from a larger input size.",
    ),
    "both": (
        "Both",
        "near a label, with another class and too little overlap",
        "Seldom worth work of its own: what helps against the two kinds above helps here.",
    ),
    "duplicate": (
        "Duplicate",
        "a second prediction of an object that was found already",
        "Lower the overlap at which the recipe suppresses neighbours, or raise the score threshold.",
    ),
    "background": (
        "Background",
        "a prediction where nothing is labelled",
        "First look whether a label is missing there; if not, label more frames with what was mistaken for an object.",
    ),
    "missed": (
        "Missed",
        "labelled, and not found",
        "Label more frames that look like those below; for small objects try a larger input size or sliced inference.",
    ),
}
"""Name -> title, meaning, advice."""


@dataclass(frozen=True)
class Named:
    """Objects of all classes of a split.

    Attributes:
        image: int [N], index of the image.
        label: int [N], index of the class.
        score: float64 [N] for predictions; all zero for truths.
        crowd: bool [N] for truths; all false for predictions.
    """

    image: IntArray
    label: IntArray
    score: FloatArray
    crowd: BoolArray


@dataclass(frozen=True)
class Errors:
    """Every error of D predictions of G truths, and what would put it right.

    Attributes:
        predictions, truth: What was judged.
        counted: bool [D], which predictions count at all.
        right: bool [D].
        kind: int [D], place in `KINDS` of what is wrong with a prediction; -1 = nothing, or it does not count.
        target: int [D], the truth that the prediction takes once it is put right; -1 = none, it goes.
        missed: bool [G].
    """

    predictions: Named
    truth: Named
    counted: BoolArray
    right: BoolArray
    kind: IntArray
    target: IntArray
    missed: BoolArray


def error_kinds(
    predictions: Named,
    truth: Named,
    pairs: Pairs,
    matches: Sequence[Matches],
    *,
    shown_from: float,
    of_shown: Callable[[Errors, Collection[str]], float] | None = None,
) -> tuple[ErrorKind, ...]:
    """Break a detector's errors down by kind.

    Args:
        predictions: Of all classes.
        truth: Of all classes.
        pairs: Which of them overlap with at least `NEAR`, whatever their classes.
        matches: Of each class, over all sizes, with `FOUND` as the first IoU threshold.
        shown_from: The counts are those of predictions scored so high at least, and of truths that these do not find:
            what a user of the model meets. The costs are those of all predictions, as AP is made of all.
        of_shown: The main metric once the errors of some kinds are put right, where it is made of the shown
            predictions alone; None: it is AP50.
    """
    shown = find_errors(predictions, truth, pairs, matches, least_score=shown_from)
    judged = find_errors(predictions, truth, pairs, matches) if of_shown is None else shown
    without = of_shown or ap_without
    now = without(judged, ())
    out = []
    for place, (name, (title, meaning, advice)) in enumerate(KINDS.items()):
        count = int(shown.missed.sum() if name == "missed" else (shown.kind == place).sum())
        # Moving points between the 101 levels of recall can lose a hair, as the authors' own code says.
        cost = max(0.0, without(judged, (name,)) - now)
        out.append(ErrorKind(name, title, meaning, advice, count, round(cost, DIGITS)))
    return tuple(out)


def find_errors(
    predictions: Named, truth: Named, pairs: Pairs, matches: Sequence[Matches], *, least_score: float = -np.inf
) -> Errors:
    """Name every error of the predictions scored `least_score` or more. Arguments as for `error_kinds`."""
    counted, right = np.zeros((2, len(predictions.label)), dtype=np.bool_)
    taken = np.zeros(len(truth.label), dtype=np.bool_)
    for label, own in enumerate(matches):
        live = ~own.ignored[:, 0] & (own.score >= least_score)
        place = np.flatnonzero(predictions.label == label)[own.index[live]]
        hit = own.tp[live, 0]
        counted[place], right[place] = True, hit
        taken[np.flatnonzero(truth.label == label)[own.partner[live, 0][hit]]] = True

    near = (counted & ~right)[pairs.prediction] & ~truth.crowd[pairs.truth]
    d, g, iou = pairs.prediction[near], pairs.truth[near], pairs.iou[near]
    same = predictions.label[d] == truth.label[g]
    own_iou, own_truth = _best(d[same], g[same], iou[same], len(right))
    other_iou, other_truth = _best(d[~same], g[~same], iou[~same], len(right))
    localisation = (own_iou >= NEAR) & (own_iou < FOUND)
    asked = [localisation, other_iou >= FOUND, own_iou >= FOUND, other_iou <= NEAR]
    names = list(KINDS)
    told = [names.index(name) for name in ("localisation", "classification", "duplicate", "background")]
    kind = np.select(asked, told, names.index("both"))
    kind[~counted | right] = -1

    target = np.where(kind == names.index("localisation"), own_truth, -1)
    target = np.where(kind == names.index("classification"), other_truth, target)
    claims = np.flatnonzero(target >= 0)
    target[claims[taken[target[claims]]]] = -1
    claims = claims[target[claims] >= 0]
    claims = claims[np.argsort(-predictions.score[claims], kind="stable")]
    _, best = np.unique(target[claims], return_index=True)
    target[np.delete(claims, best)] = -1
    missed = ~taken & ~truth.crowd
    missed[target[target >= 0]] = False
    return Errors(predictions, truth, counted, right, kind, target, missed)


def ap_without(errors: Errors, kinds: Collection[str]) -> float:
    """The AP50 over all classes once the errors of these kinds are put right; NaN where nothing was labelled."""
    predictions, truth = errors.predictions, errors.truth
    fixed = np.isin(errors.kind, [place for place, name in enumerate(KINDS) if name in kinds])
    saved = fixed & (errors.target >= 0)
    label = np.where(saved, truth.label[errors.target] if len(truth.label) else -1, predictions.label)
    right = errors.right | saved
    asked = ~truth.crowd & ~(errors.missed if "missed" in kinds else False)
    order = np.lexsort((predictions.image, -predictions.score))  # ties as in `Matches`
    order = order[(errors.counted & (~fixed | saved))[order]]
    values = []
    for name in np.unique(truth.label[~truth.crowd]):
        own = order[label[order] == name]
        positives = int((asked & (truth.label == name)).sum())
        values.append(_ap(predictions.score[own], right[own], positives))
    return float(np.mean(values)) if values else float("nan")


def accuracy_without(errors: Errors, kinds: Collection[str]) -> float:
    """TP / (TP + FP + FN) of all classes together once the errors of these kinds are put right; 1 where nothing is."""
    fixed = np.isin(errors.kind, [place for place, name in enumerate(KINDS) if name in kinds])
    saved = fixed & (errors.target >= 0)
    asked = int((~errors.truth.crowd & ~(errors.missed if "missed" in kinds else False)).sum())
    right = int((errors.right | saved).sum())
    wrong = int((errors.counted & ~errors.right & ~fixed).sum())
    return right / (asked + wrong) if asked + wrong else 1.0


def _best(d: IntArray, g: IntArray, iou: FloatArray, predictions: int) -> tuple[FloatArray, IntArray]:
    """Each prediction's largest overlap, float64 [D] (0 = none), and its truth, int [D] (-1); of equals the first."""
    most, which = np.zeros(predictions), np.full(predictions, -1, dtype=np.intp)
    order = np.lexsort((-g, iou))  # the last one written stays
    most[d[order]], which[d[order]] = iou[order], g[order]
    return most, which


def _ap(score: FloatArray, right: BoolArray, positives: int) -> float:
    """AP50 of one class from its predictions by falling score."""
    if not positives:
        return float(not len(score))
    nowhere = np.zeros(len(score), dtype=np.intp)
    flat = Matches(
        score=score,
        tp=right[:, None],
        ignored=np.zeros((len(score), 1), dtype=np.bool_),
        image=nowhere,
        index=nowhere,
        positives=np.array([positives]),
        partner=np.zeros((len(score), 1), dtype=np.int32),
    )
    return float(average_precision(flat, np.ones((1, 1), dtype=np.int64))[0, 0])
