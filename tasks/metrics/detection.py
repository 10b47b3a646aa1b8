"""Metrics of detection lines: boxes in, a `Judgement` out. The one module of the statistics that knows boxes.

AP is COCO's (equal to faster-coco-eval to 1e-6). Precision, recall, F1 and counts hold at IoU 0.5 for predictions at or
above one score threshold: the line's, or else the one of highest F1 over all classes together. The latter is chosen on
the very images it is then reported on, which flatters it a little; `fixed_threshold` reports the same at a score of
0.25 that nobody chose. What ECE is here, `calibration` says; what the kinds of errors are, `error_kinds`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.metrics.average_precision import average_precision, counts_at, recall
from tasks.metrics.boxes import Boxes, overlapping
from tasks.metrics.calibration import Binned, binned, expected_calibration_errors
from tasks.metrics.confusion import confusion, errors_per_image, pair_boxes
from tasks.metrics.curves import reliability_curve, score_curves
from tasks.metrics.error_kinds import NEAR, Named, error_kinds
from tasks.metrics.judgement import (
    COST,
    ErrorKind,
    FloatArray,
    IntArray,
    Judgement,
    Metric,
    MetricPath,
    Statistic,
)
from tasks.metrics.matching import IOU_THRESHOLDS, Matches, Pairs, match
from tasks.metrics.operating_point import at_fixed_score, best_score, count_error, operating, over_classes
from tasks.metrics.operating_point import size_ranges as size_ranges

DEFAULT_MAX_DETECTIONS = 500
"""Per class and image; COCO's 100 would silently cut a dense clip short."""

_EVERYWHERE = ("class", "size")
METRICS: tuple[Metric, ...] = (
    Metric("AP50", "AP50", families=_EVERYWHERE),
    Metric("AP50_95", "AP50-95", families=_EVERYWHERE),
    Metric("AR", "average recall", families=_EVERYWHERE, short="AR"),
    Metric("precision", "precision", families=_EVERYWHERE),
    Metric("recall", "recall", families=_EVERYWHERE),
    Metric("F1", "F1", families=_EVERYWHERE),
    Metric("count_mae", "mean absolute error of the count per frame", "lower", digits=2, short="count error"),
    Metric("ECE", "calibration error (ECE)", "lower", short="ECE", calibration=True),
    *COST,
)


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
    score_threshold: float | None = None,
) -> Judgement:
    """Judge a detector on a split.

    Args:
        predictions: Its boxes, in any order; low scores belong there too, AP needs them.
        truth: The labelled boxes.
        classes: Names, by class index.
        images: How many images there are, those without a box included.
        small_px, large_px: Sides that part small, medium and large objects.
        max_detections: Predictions kept per class and image.
        score_threshold: For precision, recall, F1, counts and errors; None = the one of highest F1.
    """
    ranges = size_ranges(small_px, large_px)
    matches = match_classes(
        predictions, truth, classes=len(classes), images=images, ranges=ranges, max_detections=max_detections
    )
    whole = [of["all"] for of in matches]
    threshold = best_score(whole) if score_threshold is None else score_threshold
    marks = pair_boxes(predictions, truth, threshold)
    labels = {name: own.positives for name, own in zip(classes, whole, strict=True)}
    every = np.sum([own.positives for own in whole], axis=0)
    slices: dict[MetricPath, dict[str, object]] = {
        ("per_size", size): {"labels": int(sum(of[size].positives.sum() for of in matches)), "about": about}
        for size, about in (
            ("small", f"sides to {small_px:g} px"),
            ("medium", f"{small_px:g} to {large_px:g} px"),
            ("large", f"from {large_px:g} px"),
        )
    }
    bins = [binned(own, images) for own in whole]
    return Judgement(
        statistic=_statistic(classes, matches, bins, threshold, images),
        labels=labels,
        support=_support(classes, matches, every),
        errors=errors_per_image(predictions, truth, marks, images),
        curves=(*score_curves(classes, whole), reliability_curve(classes, bins)),
        confusion=confusion(classes, predictions, truth, marks),
        breakdown=_breakdown(predictions, truth, whole, threshold),
        counts={name: np.add(*counts_at(own, threshold, images)) for name, own in zip(classes, whole, strict=True)},
        facts={
            "score_threshold": threshold,
            "score_threshold_from": "the line" if score_threshold is not None else "the highest F1",
            "fixed_threshold": at_fixed_score(whole, images),
        },
        slices=slices,
    )


def _statistic(
    classes: tuple[str, ...], matches: list[dict[str, Matches]], bins: list[Binned], threshold: float, images: int
) -> Statistic:
    # Per size: true and false positives and truths of each class in each image, int [C, I] each.
    counts = {
        size: tuple(
            np.stack(part)
            for part in zip(
                *((*counts_at(of[size], threshold, images), of[size].positives) for of in matches), strict=True
            )
        )
        for size in matches[0]
    }

    def statistic(weights: NDArray[np.int64]) -> dict[MetricPath, FloatArray]:
        out: dict[MetricPath, FloatArray] = {}
        for size, (tp, fp, positives) in counts.items():
            ap = np.stack([average_precision(of[size], weights) for of in matches])  # [classes, R, 10]
            ar = np.stack([recall(of[size], weights) for of in matches])
            prefix = () if size == "all" else ("per_size", size)
            out |= _named(prefix, *(over_classes(v) for v in (ap[:, :, 0], ap.mean(axis=2), ar.mean(axis=2))))
            out |= operating(prefix, tp.sum(axis=0), fp.sum(axis=0), positives.sum(axis=0), weights)
            if size != "all":
                continue
            for i, name in enumerate(classes):
                out |= _named(("per_class", name), ap[i, :, 0], ap[i].mean(axis=1), ar[i].mean(axis=1))
                out |= operating(("per_class", name), tp[i], fp[i], positives[i], weights)
                out |= count_error(("per_class", name), tp[i] + fp[i] - positives[i], weights)
            out |= count_error((), (tp + fp - positives).sum(axis=0), weights)
        *each, overall = expected_calibration_errors(bins, weights)
        out[("ECE",)] = overall
        out |= {("per_class", name, "ECE"): own for name, own in zip(classes, each, strict=True)}
        return out

    return statistic


def _named(prefix: MetricPath, ap50: FloatArray, ap: FloatArray, ar: FloatArray) -> dict[MetricPath, FloatArray]:
    return {(*prefix, "AP50"): ap50, (*prefix, "AP50_95"): ap, (*prefix, "AR"): ar}


def _support(
    classes: tuple[str, ...], matches: list[dict[str, Matches]], every: IntArray
) -> dict[MetricPath, IntArray]:
    names = [metric.name for metric in METRICS if metric.paired]
    by_size = [metric.name for metric in METRICS if metric.paired and "size" in metric.families]
    out: dict[MetricPath, IntArray] = {(name,): every for name in names}
    for label, of in zip(classes, matches, strict=True):
        out |= {("per_class", label, name): of["all"].positives for name in names}
    for size in list(matches[0])[1:]:
        there = np.sum([of[size].positives for of in matches], axis=0)
        out |= {("per_size", size, name): there for name in by_size}
    return out


def _breakdown(predictions: Boxes, truth: Boxes, whole: list[Matches], threshold: float) -> tuple[ErrorKind, ...]:
    near = overlapping(predictions.xywh, predictions.image, truth.xywh, truth.image, truth.crowd, NEAR)
    mine, theirs = (Named(boxes.image, boxes.label, boxes.score, boxes.crowd) for boxes in (predictions, truth))
    return error_kinds(mine, theirs, Pairs(*near), whole, shown_from=threshold)
