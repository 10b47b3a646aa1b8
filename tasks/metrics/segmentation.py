"""Metrics of segmentation lines: masks in, a `Judgement` out.

Everything but `mask_AP`, `mask_AP50` and `ECE` holds for predictions at or above one score threshold: the line's, or
else the one of highest F1 at IoU 0.5, which is chosen on the very pictures it is then reported on and so flatters a
little; `fixed_threshold` reports the same at a score that nobody chose. With TP, FP and FN at an IoU of at least t:

    AP50_pooled   TP / (TP + FP + FN) at t = 0.5, counts summed over all pictures: StarDist's "accuracy"
    AP_pooled     its mean over t = 0.50, 0.55 ... 0.90
    AP50_mean     the same ratio of every picture by itself, then the mean over pictures: Cellpose's "average precision"
    AP_mean       its mean over the same t
    F1_50, precision, recall    at t = 0.5, pooled
    PQ = SQ * RQ  panoptic quality (Kirillov et al. 2019, arXiv:1801.00868, eq. 1), pairs of IoU above 0.5
    AJI           aggregated Jaccard index (Kumar et al. 2017), of every picture, then the mean
    boundary_F    outlines within 2 px of each other, see `segmentation_outlines`
    mask_AP       COCO's mask AP over IoU 0.50:0.05:0.95, from scores (equal to faster-coco-eval), and mask_AP50

Over several classes: cells match within their class only. What is counted is then pooled over classes, but PQ, SQ, RQ
and COCO's AP are means over classes, as their authors take them. A picture with neither a cell nor a prediction has no
ratio of its own and is left out of means over pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.metrics.average_precision import average_precision, ratio
from tasks.metrics.calibration import Binned, binned, expected_calibration_errors
from tasks.metrics.confusion import confusion, errors_per_image, pair_objects
from tasks.metrics.curves import reliability_curve, score_curves
from tasks.metrics.error_kinds import NEAR, Named, accuracy_without, error_kinds
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
from tasks.metrics.matching import Matches, match
from tasks.metrics.operating_point import at_fixed_score, best_score, count_error, over_classes, size_ranges
from tasks.metrics.segmentation_masks import Masks, Overlaps, overlaps
from tasks.metrics.segmentation_matching import UNIT, Counts, Jaccard, count_by_size, jaccard
from tasks.metrics.segmentation_outlines import TOLERANCE_PX, OutlineHits, outline_hits

MAX_DETECTIONS = 10_000
"""Per class and picture, for COCO's AP; its own 100 would cut a picture of many cells short."""

_EVERYWHERE = ("class", "size")
METRICS: tuple[Metric, ...] = (
    Metric("AP50_pooled", "AP at IoU 0.5, pooled (StarDist)", families=_EVERYWHERE, short="AP50 pooled"),
    Metric("AP_pooled", "AP at IoU 0.5 to 0.9, pooled (StarDist)", families=_EVERYWHERE, short="AP pooled"),
    Metric("PQ", "panoptic quality (PQ)", families=_EVERYWHERE, short="PQ"),
    Metric("SQ", "segmentation quality (SQ)", families=_EVERYWHERE, short="SQ", column=False),
    Metric("RQ", "recognition quality (RQ)", families=_EVERYWHERE, short="RQ", column=False),
    Metric("AJI", "aggregated Jaccard index (AJI)", short="AJI"),
    Metric("F1_50", "F1 at IoU 0.5", families=_EVERYWHERE, short="F1"),
    Metric("precision", "precision", families=_EVERYWHERE),
    Metric("recall", "recall", families=_EVERYWHERE),
    Metric("AP50_mean", "AP at IoU 0.5, mean (Cellpose)", families=_EVERYWHERE, short="AP50 mean", column=False),
    Metric("AP_mean", "AP at IoU 0.5 to 0.9, mean (Cellpose)", families=_EVERYWHERE, short="AP mean", column=False),
    Metric("mask_AP50", "mask AP50 (COCO)", families=_EVERYWHERE, short="mask AP50", column=False),
    Metric("mask_AP", "mask AP (COCO)", families=_EVERYWHERE, short="mask AP"),
    Metric("boundary_F", f"boundary F within {TOLERANCE_PX} px", short="boundary F"),
    Metric("count_mae", "mean absolute error of the count per picture", "lower", digits=2, short="count error"),
    Metric("ECE", "calibration error (ECE)", "lower", short="ECE", calibration=True),
    *COST,
)


@dataclass(frozen=True)
class _OfClass:
    """All that one class's metrics are made of, each under any image weights.

    Attributes:
        matches: Size -> COCO's matches of all predictions.
        counts: Size -> cells matched one to one at the score threshold.
    """

    matches: dict[str, Matches]
    counts: dict[str, Counts]
    jaccard: Jaccard
    outlines: OutlineHits
    bins: Binned


def judge(
    predictions: Masks,
    truth: Masks,
    *,
    classes: tuple[str, ...],
    small_px: float = 32.0,
    large_px: float = 96.0,
    score_threshold: float | None = None,
) -> Judgement:
    """Judge a model that outlines cells.

    Args:
        predictions: Its masks, in any order; low scores belong there too, COCO's AP needs them.
        truth: The labelled masks, of the same pictures.
        classes: Names, by class index.
        small_px, large_px: Sides (root of the area) that part small, medium and large cells.
        score_threshold: None = the one of highest F1.
    """
    ranges, found = size_ranges(small_px, large_px), overlaps(predictions, truth)
    matches = [coco_matches(predictions, truth, found, label, ranges) for label in range(len(classes))]
    whole = [of["all"] for of in matches]
    threshold = best_score(whole) if score_threshold is None else score_threshold
    parts = [_of_class(predictions, truth, found, label, own, ranges, threshold) for label, own in enumerate(matches)]
    pairs = found.pairs(0.5)
    marks = pair_objects(predictions, truth, pairs, threshold)
    there = {name: own.counts["all"].there for name, own in zip(classes, parts, strict=True)}
    sizes = {"small": f"sides to {small_px:g} px", "medium": f"{small_px:g} to {large_px:g} px",
             "large": f"from {large_px:g} px"}  # fmt: skip
    return Judgement(
        statistic=_statistic(classes, parts, truth.images),
        labels=there,
        support=_support(classes, parts),
        errors=errors_per_image(predictions, truth, marks, truth.images),
        curves=(*score_curves(classes, whole), reliability_curve(classes, [own.bins for own in parts])),
        confusion=confusion(classes, predictions, truth, marks),
        breakdown=_breakdown(predictions, truth, found, whole, threshold),
        counts={name: own.counts["all"].tp[:, 0] + own.counts["all"].fp[:, 0]
                for name, own in zip(classes, parts, strict=True)},
        facts={
            "score_threshold": threshold,
            "score_threshold_from": "the line" if score_threshold is not None else "the highest F1",
            "fixed_threshold": at_fixed_score(whole, truth.images),
            "boundary_tolerance_px": TOLERANCE_PX,
        },
        slices={
            ("per_size", size): {"labels": int(sum(own.counts[size].there.sum() for own in parts)), "about": about}
            for size, about in sizes.items()
        },
    )  # fmt: skip


def coco_matches(
    predictions: Masks, truth: Masks, found: Overlaps, label: int, ranges: dict[str, tuple[float, float]]
) -> dict[str, Matches]:
    """COCO's matches of one class in each range of area."""
    (mine, own), (theirs, asked) = predictions.of_class(label), truth.of_class(label)
    pairs = found.of_places(own, asked).pairs(0.5 - 1e-9)
    return match(mine, theirs, pairs, images=truth.images, ranges=ranges, max_detections=MAX_DETECTIONS)


def _of_class(
    predictions: Masks, truth: Masks, found: Overlaps, label: int, matches: dict[str, Matches],
    ranges: dict[str, tuple[float, float]], threshold: float,
) -> _OfClass:  # fmt: skip
    own, asked = (predictions.label == label) & (predictions.score >= threshold), truth.label == label
    near = found.of_places(np.flatnonzero(own), np.flatnonzero(asked))
    mine, theirs = predictions.kept(own), truth.kept(asked)
    return _OfClass(
        matches=matches,
        counts=count_by_size(mine, theirs, near, ranges),
        jaccard=jaccard(mine, theirs, near),
        outlines=outline_hits(mine, theirs),
        bins=binned(matches["all"], truth.images),
    )


def _statistic(classes: tuple[str, ...], parts: Sequence[_OfClass], images: int) -> Statistic:
    def statistic(weights: NDArray[np.int64]) -> dict[MetricPath, FloatArray]:
        out: dict[MetricPath, FloatArray] = {}
        for size in parts[0].counts:
            prefix: MetricPath = () if size == "all" else ("per_size", size)
            counts = [own.counts[size] for own in parts]
            coco = np.stack([average_precision(own.matches[size], weights) for own in parts])  # [C, R, 10]
            panoptic = np.stack([_panoptic(own, weights) for own in counts])  # [C, 3, R]
            out |= _counted(prefix, Counts.together(counts), weights)
            out |= _qualities(prefix, np.stack([over_classes(panoptic[:, i]) for i in range(3)]))
            out |= _mask_ap(prefix, over_classes(coco[:, :, 0]), over_classes(coco.mean(axis=2)))
            if size == "all":
                for i, name in enumerate(classes):
                    out |= _counted(("per_class", name), counts[i], weights)
                    out |= _qualities(("per_class", name), panoptic[i])
                    out |= _mask_ap(("per_class", name), coco[i, :, 0], coco[i].mean(axis=1))
        for path, own in [
            ((), list(parts)),
            *((("per_class", name), [own]) for name, own in zip(classes, parts, strict=True)),
        ]:
            out |= _of_pictures(path, own, weights)
        *each, overall = expected_calibration_errors([own.bins for own in parts], weights)
        out[("ECE",)] = overall
        out |= {("per_class", name, "ECE"): value for name, value in zip(classes, each, strict=True)}
        return out

    return statistic


def _counted(prefix: MetricPath, counts: Counts, weights: NDArray[np.int64]) -> dict[MetricPath, FloatArray]:
    """What follows from true and false positives and misses."""
    tp, fp, fn = weights @ counts.tp, weights @ counts.fp, weights @ counts.fn  # [R, T]
    pooled = ratio(tp, tp + fp + fn)
    each = mean_of_pictures(counts.tp, counts.tp + counts.fp + counts.fn, weights)
    return {
        (*prefix, "AP50_pooled"): pooled[:, 0],
        (*prefix, "AP_pooled"): pooled.mean(axis=1),
        (*prefix, "AP50_mean"): each[:, 0],
        (*prefix, "AP_mean"): each.mean(axis=1),
        (*prefix, "F1_50"): ratio(2 * tp[:, 0], 2 * tp[:, 0] + fp[:, 0] + fn[:, 0]),
        (*prefix, "precision"): ratio(tp[:, 0], tp[:, 0] + fp[:, 0]),
        (*prefix, "recall"): ratio(tp[:, 0], tp[:, 0] + fn[:, 0]),
    }


def mean_of_pictures(part: IntArray, whole: IntArray, weights: NDArray[np.int64]) -> FloatArray:
    """The weighted mean over pictures of `part / whole`, [I, T] to [R, T]; pictures whose whole is 0 are left out."""
    own = ratio(part, whole)
    known = ~np.isnan(own)
    units = np.rint(np.where(known, own, 0.0) * UNIT).astype(np.int64)
    return ratio(weights @ units, weights @ known.astype(np.int64)) / UNIT


def _panoptic(counts: Counts, weights: NDArray[np.int64]) -> FloatArray:
    """PQ, SQ and RQ of one class, [3, R]; 0 where nothing matches, NaN where there is nothing at all."""
    matched, total = weights @ counts.matched, weights @ (counts.claimed + counts.there)
    iou = (weights @ counts.iou) / UNIT
    quality = np.where(total > 0, iou / np.maximum(matched, 1), np.nan)
    return np.stack([ratio(2 * iou, total), quality, ratio(2 * matched, total)])


def _qualities(prefix: MetricPath, panoptic: FloatArray) -> dict[MetricPath, FloatArray]:
    return {(*prefix, name): panoptic[i] for i, name in enumerate(("PQ", "SQ", "RQ"))}


def _mask_ap(prefix: MetricPath, ap50: FloatArray, ap: FloatArray) -> dict[MetricPath, FloatArray]:
    return {(*prefix, "mask_AP50"): ap50, (*prefix, "mask_AP"): ap}


def _of_pictures(
    prefix: MetricPath, parts: Sequence[_OfClass], weights: NDArray[np.int64]
) -> dict[MetricPath, FloatArray]:
    """AJI, boundary F and the error of the count, of some classes together."""
    shared, united = (np.sum([getattr(own.jaccard, name) for own in parts], axis=0) for name in ("shared", "united"))
    near, found, hit, true = (
        weights @ np.sum([getattr(own.outlines, name) for own in parts], axis=0)
        for name in ("near_truth", "predicted", "near_prediction", "true")
    )
    precision, recall = near / np.maximum(found, 1), hit / np.maximum(true, 1)
    boundary = ratio(2 * precision * recall, precision + recall)
    nothing_near = (found + true > 0) & (near + hit == 0)
    whole = Counts.together([own.counts["all"] for own in parts])
    return {
        (*prefix, "AJI"): mean_of_pictures(shared[:, None], united[:, None], weights)[:, 0],
        (*prefix, "boundary_F"): np.where(nothing_near, 0.0, boundary),
        **count_error(prefix, whole.fp[:, 0] - whole.fn[:, 0], weights),
    }


def _support(classes: tuple[str, ...], parts: Sequence[_OfClass]) -> dict[MetricPath, IntArray]:
    names = [metric.name for metric in METRICS if metric.paired]
    by_size = [metric.name for metric in METRICS if metric.paired and "size" in metric.families]
    every = np.sum([own.counts["all"].there for own in parts], axis=0)
    out: dict[MetricPath, IntArray] = {(name,): every for name in names}
    for label, own in zip(classes, parts, strict=True):
        out |= {("per_class", label, name): own.counts["all"].there for name in names}
    for size in [size for size in parts[0].counts if size != "all"]:
        there = np.sum([own.counts[size].there for own in parts], axis=0)
        out |= {("per_size", size, name): there for name in by_size}
    return out


def _breakdown(
    predictions: Masks, truth: Masks, found: Overlaps, whole: Sequence[Matches], threshold: float
) -> tuple[ErrorKind, ...]:
    """What is wrong among what a user is shown, and what each kind costs of `AP50_pooled`."""
    mine, theirs = (Named(masks.image, masks.label, masks.score, masks.crowd) for masks in (predictions, truth))
    return error_kinds(mine, theirs, found.pairs(NEAR), whole, shown_from=threshold, of_shown=accuracy_without)
