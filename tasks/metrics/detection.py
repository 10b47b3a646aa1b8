"""Metrics of detection lines: boxes in, a `Judgement` out. The one module of the statistics that knows boxes.

AP is COCO's (equal to faster-coco-eval to 1e-6). Precision, recall, F1 and counts hold at IoU 0.5 for predictions at or
above one score threshold, the one of highest F1 over all classes together. It is chosen on the very images it is then
reported on, which flatters it a little; `fixed_threshold` reports the same at a score of 0.25 that nobody chose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.metrics.average_precision import average_precision, counts_at, ratio, recall
from tasks.metrics.boxes import Boxes, overlapping
from tasks.metrics.judgement import (
    LATENCY,
    Confusion,
    Curve,
    FloatArray,
    IntArray,
    Judgement,
    Metric,
    MetricPath,
    Statistic,
)
from tasks.metrics.matching import IOU_THRESHOLDS, Matches, Pairs, match

FIXED_SCORE = 0.25
DEFAULT_MAX_DETECTIONS = 500
"""Per class and image; COCO's 100 would silently cut a dense clip short."""

METRICS: tuple[Metric, ...] = (
    Metric("AP50", "AP50"),
    Metric("AP50_95", "AP50-95"),
    Metric("AR", "average recall"),
    Metric("precision", "precision"),
    Metric("recall", "recall"),
    Metric("F1", "F1"),
    Metric("count_mae", "mean absolute error of the count per frame", "lower", digits=2),
    *LATENCY,
)


@dataclass(frozen=True)
class Mistakes:
    """Who found what at the score threshold, at IoU 0.5, one to one, whatever the class.

    Attributes:
        partner: int64 [D], the truth each prediction found, -1 = none, -2 = below the threshold or on a crowd.
        found_by: int64 [G], the prediction that found each truth, -1 = missed.
    """

    partner: IntArray
    found_by: IntArray


def size_ranges(small_px: float, large_px: float) -> dict[str, tuple[float, float]]:
    """Area ranges from the side lengths (square root of area) that a line sets; COCO's are 32 and 96.

    As in COCO both ends belong to a range: a box of exactly a limiting size counts as either.
    """
    largest = 1e10
    return {
        "all": (0.0, largest),
        "small": (0.0, small_px**2),
        "medium": (small_px**2, large_px**2),
        "large": (large_px**2, largest),
    }


def match_classes(
    predictions: Boxes,
    truth: Boxes,
    *,
    classes: int,
    images: int,
    ranges: dict[str, tuple[float, float]],
    max_detections: int = DEFAULT_MAX_DETECTIONS,
) -> list[dict[str, Matches]]:
    """The cached matches of each class in each area range."""
    out = []
    for label in range(classes):
        mine, boxes, _ = predictions.of_class(label)
        theirs, truth_boxes, _ = truth.of_class(label)
        near = overlapping(boxes, mine.image, truth_boxes, theirs.image, theirs.crowd, float(IOU_THRESHOLDS[0]) - 1e-9)
        out.append(match(mine, theirs, Pairs(*near), images=images, ranges=ranges, max_detections=max_detections))
    return out


def judge(
    predictions: Boxes,
    truth: Boxes,
    *,
    classes: tuple[str, ...],
    images: int,
    small_px: float = 32.0,
    large_px: float = 96.0,
    max_detections: int = DEFAULT_MAX_DETECTIONS,
) -> Judgement:
    """Judge a detector on a split.

    Args:
        predictions: Its boxes, in any order; low scores belong there too, AP needs them.
        truth: The labelled boxes.
        classes: Names, by class index.
        images: How many images there are, those without a box included.
        small_px, large_px: Sides that part small, medium and large objects.
        max_detections: Predictions kept per class and image.
    """
    ranges = size_ranges(small_px, large_px)
    matches = match_classes(
        predictions, truth, classes=len(classes), images=images, ranges=ranges, max_detections=max_detections
    )
    whole = [of["all"] for of in matches]
    threshold = best_score(whole)
    marks = find_mistakes(predictions, truth, threshold)
    labels = {name: own.positives for name, own in zip(classes, whole, strict=True)}
    every = np.sum([own.positives for own in whole], axis=0)
    slices: dict[MetricPath, dict[str, object]] = {
        ("per_size", size): {"labels": int(sum(of[size].positives.sum() for of in matches))}
        for size in list(ranges)[1:]
    }
    return Judgement(
        statistic=_statistic(classes, matches, threshold, images),
        labels=labels,
        support=_support(classes, matches, every),
        errors=_errors(predictions, truth, marks, images),
        curves=_curves(classes, whole),
        confusion=_confusion(classes, predictions, truth, marks),
        facts={"score_threshold": threshold, **_counting(classes, whole, threshold, images)},
        slices=slices,
    )


def best_score(matches: list[Matches]) -> float:
    """The score threshold of highest F1 at IoU 0.5, all classes pooled; the fixed one where nothing is ever right."""
    keep = [~own.ignored[:, 0] for own in matches]
    score = np.concatenate([own.score[k] for own, k in zip(matches, keep, strict=True)])
    tp = np.concatenate([own.tp[k, 0] for own, k in zip(matches, keep, strict=True)])
    if not tp.any():
        return FIXED_SCORE
    order = np.argsort(-score, kind="stable")
    positives = sum(int(own.positives.sum()) for own in matches)
    f1 = 2 * np.cumsum(tp[order]) / (np.arange(1, len(order) + 1) + positives)
    ends = np.append(score[order][1:] != score[order][:-1], True)  # a threshold cannot part equal scores
    return float(score[order][np.where(ends, f1, -1).argmax()])


def find_mistakes(predictions: Boxes, truth: Boxes, score: float) -> Mistakes:
    """Pair predictions and truths one to one by falling IoU, same class before other class."""
    partner = np.where(predictions.score >= score, -1, -2)
    found_by = np.full(len(truth.image), -1, dtype=np.int64)
    d, g, iou = overlapping(predictions.xywh, predictions.image, truth.xywh, truth.image, truth.crowd, 0.5)
    live = partner[d] == -1
    d, g, iou = d[live], g[live], iou[live]
    other = predictions.label[d] != truth.label[g]
    for i in np.lexsort((g, d, -iou, other)):
        if truth.crowd[g[i]] or partner[d[i]] != -1 or found_by[g[i]] != -1:
            continue
        partner[d[i]], found_by[g[i]] = g[i], d[i]
    on_crowd = d[truth.crowd[g]]
    partner[on_crowd[partner[on_crowd] == -1]] = -2
    return Mistakes(partner=partner.astype(np.int64), found_by=found_by)


def _statistic(classes: tuple[str, ...], matches: list[dict[str, Matches]], threshold: float, images: int) -> Statistic:
    counts = [counts_at(of["all"], threshold, images) for of in matches]

    def statistic(weights: NDArray[np.int64]) -> dict[MetricPath, FloatArray]:
        out: dict[MetricPath, FloatArray] = {}
        for size in matches[0]:
            ap = np.stack([average_precision(of[size], weights) for of in matches])  # [classes, R, 10]
            ar = np.stack([recall(of[size], weights) for of in matches])
            prefix = () if size == "all" else ("per_size", size)
            out |= _named(prefix, *(_over_classes(v) for v in (ap[:, :, 0], ap.mean(axis=2), ar.mean(axis=2))))
            if size == "all":
                for name, own_ap, own_ar in zip(classes, ap, ar, strict=True):
                    out |= _named(("per_class", name), own_ap[:, 0], own_ap.mean(axis=1), own_ar.mean(axis=1))
        positives = np.stack([of["all"].positives for of in matches])
        tp, fp = (np.stack(part) for part in zip(*counts, strict=True))
        out |= _operating((), tp.sum(axis=0), fp.sum(axis=0), positives.sum(axis=0), weights)
        for i, name in enumerate(classes):
            out |= _operating(("per_class", name), tp[i], fp[i], positives[i], weights)
        return out

    return statistic


def _named(prefix: MetricPath, ap50: FloatArray, ap: FloatArray, ar: FloatArray) -> dict[MetricPath, FloatArray]:
    return {(*prefix, "AP50"): ap50, (*prefix, "AP50_95"): ap, (*prefix, "AR"): ar}


def _over_classes(values: FloatArray) -> FloatArray:
    """Mean over the classes that have anything to find, as COCO takes it: [classes, R] to [R]."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0))


def _operating(
    prefix: MetricPath, tp: IntArray, fp: IntArray, positives: IntArray, weights: NDArray[np.int64]
) -> dict[MetricPath, FloatArray]:
    hits, wrong, there = weights @ tp, weights @ fp, weights @ positives
    return {
        (*prefix, "precision"): ratio(hits, hits + wrong),
        (*prefix, "recall"): ratio(hits, there),
        (*prefix, "F1"): ratio(2 * hits, hits + wrong + there),
        (*prefix, "count_mae"): ratio(weights @ np.abs(tp + fp - positives), weights.sum(axis=1)),
    }


def _support(
    classes: tuple[str, ...], matches: list[dict[str, Matches]], every: IntArray
) -> dict[MetricPath, IntArray]:
    names = [metric.name for metric in METRICS if metric.paired]
    out: dict[MetricPath, IntArray] = {(name,): every for name in names}
    for label, of in zip(classes, matches, strict=True):
        out |= {("per_class", label, name): of["all"].positives for name in names}
    for size in list(matches[0])[1:]:
        there = np.sum([of[size].positives for of in matches], axis=0)
        out |= {("per_size", size, name): there for name in ("AP50", "AP50_95", "AR")}
    return out


def _counting(classes: tuple[str, ...], whole: list[Matches], threshold: float, images: int) -> dict[str, object]:
    """What a lab counts in the end, and the same operating point at a score that nobody chose."""
    per_frame = {}
    for name, own in zip(classes, whole, strict=True):
        tp, fp = counts_at(own, threshold, images)
        per_frame[name] = {
            "labelled": float(own.positives.mean()),
            "predicted": float((tp + fp).mean()),
            "bias": float((tp + fp - own.positives).mean()),
        }
    tp, fp = (np.sum(part, axis=0) for part in zip(*(counts_at(o, FIXED_SCORE, images) for o in whole), strict=True))
    there = np.sum([own.positives for own in whole], axis=0)
    at_fixed = _operating((), tp, fp, there, np.ones((1, images), dtype=np.int64))
    fixed = {path[0]: None if np.isnan(value[0]) else float(value[0]) for path, value in at_fixed.items()}
    return {"count_per_frame": per_frame, "fixed_threshold": {"score_threshold": FIXED_SCORE, **fixed}}


def _errors(predictions: Boxes, truth: Boxes, marks: Mistakes, images: int) -> FloatArray:
    """False alarms, misses and wrong classes per image."""
    wrong = marks.partner == -1
    found = marks.partner >= 0
    wrong[found] = predictions.label[found] != truth.label[marks.partner[found]]
    missed = (marks.found_by == -1) & ~truth.crowd
    total = np.bincount(predictions.image[wrong], minlength=images) + np.bincount(truth.image[missed], minlength=images)
    return total.astype(np.float64)


def _confusion(classes: tuple[str, ...], predictions: Boxes, truth: Boxes, marks: Mistakes) -> Confusion:
    n = len(classes)
    counts = np.zeros((n + 1, n + 1), dtype=np.int64)
    live = np.flatnonzero(marks.partner >= -1)
    found = marks.partner[live]
    column = np.where(found >= 0, truth.label[np.maximum(found, 0)] if len(truth.label) else n, n)
    np.add.at(counts, (predictions.label[live], column), 1)
    missed = truth.label[(marks.found_by == -1) & ~truth.crowd]
    counts[n, :n] += np.bincount(missed, minlength=n)
    return Confusion((*classes, "missed"), (*classes, "nothing there"), tuple(tuple(map(int, row)) for row in counts))


def _curves(classes: tuple[str, ...], whole: list[Matches]) -> tuple[Curve, Curve]:
    levels = np.linspace(0, 1, 101)
    precision, f1 = {}, {}
    for name, own in zip(classes, whole, strict=True):
        there = int(own.positives.sum())
        if not there:
            continue
        keep = ~own.ignored[:, 0]
        hits, score = np.cumsum(own.tp[keep, 0]), own.score[keep]
        counted = np.arange(1, len(hits) + 1)
        envelope = np.append(np.maximum.accumulate((hits / counted)[::-1])[::-1], 0.0)
        at = envelope[np.searchsorted(hits / there, levels)]
        precision[name] = (levels.tolist(), [round(float(v), 5) for v in at])
        kept = np.searchsorted(-score, -levels, side="right")  # predictions at or above each score
        curve = 2 * np.append(0, hits)[kept] / (kept + there)
        f1[name] = (levels.tolist(), [round(float(v), 5) for v in curve])
    return (
        Curve("Precision and recall at IoU 0.5", "recall", "precision", precision),
        Curve("F1 by score threshold", "score threshold", "F1", f1),
    )
