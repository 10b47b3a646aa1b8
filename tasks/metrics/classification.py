"""Metrics of classification lines: probabilities of whole pictures in, a `Judgement` out.

Where a picture has one class, the class of the highest probability is the prediction; ROC AUC and the like look at
each class against the rest. In a multi-label line each label is a question of its own, predicted where its probability
reaches the threshold, and measured on the pictures whose label is known; the overall values are means over labels.

Reference: scikit-learn, and torchmetrics for the ECE, to 1e-9; what is undefined is NaN (see
`classification_counts`). The ECE of the whole is that of the chosen classes (Guo et al. 2017); of a class it is that of
its own probabilities, as of a binary classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.metrics.average_precision import ratio
from tasks.metrics.calibration import FINE_UNIT, Binned, binned_scores, expected_calibration_errors
from tasks.metrics.classification_counts import (
    Counts,
    accuracy,
    balanced_accuracy,
    kappa,
    macro,
    mcc,
    mean_of_known,
)
from tasks.metrics.classification_curves import precision_recall, reliability_curve, roc
from tasks.metrics.classification_ranking import Ranking, areas, ranked
from tasks.metrics.judgement import (
    COST,
    OUTCOMES,
    Confusion,
    FloatArray,
    IntArray,
    Judgement,
    Metric,
    MetricPath,
    Statistic,
)

_EACH, _LABEL = ("class", "label"), ("label",)
METRICS: tuple[Metric, ...] = (
    Metric("balanced_accuracy", "balanced accuracy", families=_LABEL),
    Metric("ROC_AUC", "ROC AUC", families=_EACH),
    Metric("accuracy", "accuracy", families=_LABEL),
    Metric("macro_F1", "macro F1", families=()),
    Metric("macro_precision", "macro precision", families=(), column=False),
    Metric("macro_recall", "macro recall", families=(), column=False),
    Metric("F1", "F1", families=_EACH, overall=False),
    Metric("precision", "precision", families=_EACH, overall=False),
    Metric("recall", "recall", families=_EACH, overall=False),
    Metric("PR_AUC", "average precision", families=_EACH, short="PR AUC"),
    Metric("MCC", "MCC", families=_EACH),
    Metric("kappa", "Cohen's kappa", families=_LABEL, short="kappa", column=False),
    Metric("ECE", "calibration error (ECE)", "lower", families=_EACH, short="ECE", calibration=True),
    Metric("log_loss", "log loss", "lower", families=_LABEL, column=False),
    Metric("Brier", "Brier score", "lower", families=_LABEL, short="Brier", column=False),
    *COST,
)

THRESHOLD = 0.5
"""Of a label's probability, where the line names none."""
_CHUNK = 4_000_000
"""Weights worked on at once: what is made of them stays below some hundred megabytes."""
_LEAST = float(np.finfo(np.float64).eps)
"""A probability of 0 costs as much as this one: scikit-learn's choice."""
CHOSEN = "chosen class"


def judge(
    scores: FloatArray,
    targets: FloatArray,
    *,
    classes: Sequence[str],
    multi_label: bool,
    threshold: float | None = None,
) -> Judgement:
    """Judge a classifier on a split.

    Args:
        scores: float64 [I, K], probabilities.
        targets: float64 [I, K]: 1 the class is there, 0 it is not, NaN nobody knows.
        classes: K names.
        multi_label: Whether a picture may have several labels, or none; else it has exactly one class.
        threshold: Of a label's probability in a multi-label line; None = 0.5.
    """
    scores, targets = np.asarray(scores, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if multi_label:
        return _judge_labels(scores, targets, tuple(classes), THRESHOLD if threshold is None else threshold)
    return _judge_classes(scores, targets, tuple(classes))


def _judge_classes(scores: FloatArray, targets: FloatArray, classes: tuple[str, ...]) -> Judgement:
    count = len(classes)
    known: NDArray[np.bool_] = np.asarray(~np.isnan(targets).any(axis=1))
    truth = np.where(known, np.nan_to_num(targets).argmax(axis=1), -1)
    chosen = scores.argmax(axis=1)
    labelled = (truth[:, None] == np.arange(count)).astype(np.float64)
    predicted = (known[:, None] & (chosen[:, None] == np.arange(count))).astype(np.float64)
    each = np.arange(len(scores))
    right = np.where(known, chosen == truth, False)
    sure, own = scores[each, chosen], scores[each, np.maximum(truth, 0)]
    loss = np.where(known, -np.log(np.clip(own, _LEAST, 1 - _LEAST)), 0.0)
    squares = np.where(known, ((scores - labelled) ** 2).sum(axis=1), 0.0) / (2 if count == 2 else 1)
    whole = binned_scores(sure[known], right[known], each[known], len(scores), FINE_UNIT)
    rankings, bins = _each(scores, targets, classes)

    def part(weights: IntArray) -> dict[MetricPath, FloatArray]:
        found, drawn = _counts(weights, labelled, predicted), weights.astype(np.float64)
        out: dict[MetricPath, FloatArray] = {
            ("balanced_accuracy",): balanced_accuracy(found),
            ("accuracy",): accuracy(found),
            ("macro_F1",): macro(found, found.f1),
            ("macro_precision",): macro(found, found.precision),
            ("macro_recall",): macro(found, found.recall),
            ("MCC",): mcc(found),
            ("kappa",): kappa(found),
            ("log_loss",): ratio(drawn @ loss, found.total),
            ("Brier",): ratio(drawn @ squares, found.total),
        }
        *errors, out[("ECE",)], _ = expected_calibration_errors([*bins.values(), whole], weights)
        values = {"precision": found.precision, "recall": found.recall, "F1": found.f1, "MCC": found.mcc_each}
        for k, name in enumerate(classes):
            out |= {("per_class", name, metric): value[:, k] for metric, value in values.items()}
            out[("per_class", name, "ECE")] = errors[k]
        return out | _areas("class", rankings, weights)

    wrong = known & ~right
    matrix = np.zeros((count, count), dtype=np.int64)
    np.add.at(matrix, (truth[known], chosen[known]), 1)
    positives = {name: labelled[:, k].astype(np.int64) for k, name in enumerate(classes)}
    return Judgement(
        statistic=_in_chunks(part),
        labels=positives,
        support=_support("class", known.astype(np.int64), positives),
        # Among pictures that are wrong, the surest of them is the worst; the whole number counts mistakes.
        errors=np.where(wrong, 1 + 0.999 * np.clip(sure - own, 0, 1), 0.0),
        curves=(roc(rankings), precision_recall(rankings), reliability_curve({**bins, CHOSEN: whole})),
        confusion=Confusion(classes, classes, _as_tuples(matrix), nothing=False, rows_are="labelled"),
        right={"pictures": np.where(known, right.astype(np.float64), np.nan)},
    )


def _judge_labels(scores: FloatArray, targets: FloatArray, classes: tuple[str, ...], threshold: float) -> Judgement:
    known = ~np.isnan(targets)
    there, claimed = known & (targets > 0.5), known & (scores >= threshold)
    sign = np.where(targets > 0.5, scores, 1 - scores)
    loss = np.where(known, -np.log(np.clip(sign, _LEAST, 1 - _LEAST)), 0.0)
    squares = np.where(known, (1 - sign) ** 2, 0.0)
    rankings, bins = _each(scores, targets, classes)

    def of_label(k: int, weights: IntArray) -> dict[str, FloatArray]:
        sides = np.stack([known[:, k] & ~there[:, k], there[:, k]], axis=1).astype(np.float64)
        said = np.stack([known[:, k] & ~claimed[:, k], claimed[:, k]], axis=1).astype(np.float64)
        found, drawn = _counts(weights, sides, said), weights.astype(np.float64)
        return {
            "accuracy": accuracy(found),
            "balanced_accuracy": np.where((found.labelled > 0).all(axis=-1), balanced_accuracy(found), np.nan),
            "precision": found.precision[:, 1],
            "recall": found.recall[:, 1],
            "F1": found.f1[:, 1],
            "MCC": found.mcc_each[:, 1],
            "kappa": kappa(found),
            "log_loss": ratio(drawn @ loss[:, k], found.total),
            "Brier": ratio(drawn @ squares[:, k], found.total),
        }

    def part(weights: IntArray) -> dict[MetricPath, FloatArray]:
        out = _areas("label", rankings, weights)
        errors = expected_calibration_errors(list(bins.values()), weights)
        values = [of_label(k, weights) | {"ECE": errors[k]} for k in range(len(classes))]
        for name, own in zip(classes, values, strict=True):
            out |= {("per_label", name, metric): value for metric, value in own.items()}
        there = ~np.isnan(np.stack([own["F1"] for own in values], axis=-1))  # labelled or claimed at all
        for metric in values[0]:
            each = np.stack([own[metric] for own in values], axis=-1)
            if metric in ("F1", "precision", "recall"):  # a label that is never claimed must not raise the mean
                out[(f"macro_{metric}",)] = mean_of_known(np.where(there, np.nan_to_num(each), np.nan))
            else:
                out[(metric,)] = mean_of_known(each)
        return out

    wrong = there ^ claimed
    surest = np.where(wrong, np.abs(scores - np.nan_to_num(targets)), 0.0)
    positives = {name: there[:, k].astype(np.int64) for k, name in enumerate(classes)}
    table = np.stack([there & claimed, there & ~claimed, known & ~there & ~claimed, claimed & ~there]).sum(axis=1).T
    return Judgement(
        statistic=_in_chunks(part),
        labels=positives,
        support=_support("label", np.asarray(known.any(axis=1), dtype=np.int64), _rarer(positives, known, classes)),
        errors=wrong.sum(axis=1) + 0.999 * surest.max(axis=1, initial=0.0),
        curves=(roc(rankings), precision_recall(rankings), reliability_curve(bins)),
        confusion=Confusion(classes, OUTCOMES, _as_tuples(table), nothing=False, rows_are="labels"),
        facts={"threshold": threshold},
        slices=_unknowable(there, known, classes),
        family="label",
        right={name: np.where(known[:, k], ~wrong[:, k], np.nan) for k, name in enumerate(classes)},
    )


def _in_chunks(part: Any) -> Statistic:
    def statistic(weights: NDArray[np.int64]) -> dict[MetricPath, FloatArray]:
        rows = max(1, _CHUNK // max(1, weights.shape[1]))
        parts = [part(weights[start : start + rows]) for start in range(0, max(1, len(weights)), rows)]
        return {path: np.concatenate([own[path] for own in parts]) for path in parts[0]}

    return statistic


def _counts(weights: IntArray, labelled: FloatArray, predicted: FloatArray) -> Counts:
    """Sums of whole numbers in float64: exact, and as fast as matrices are."""
    drawn = weights.astype(np.float64)
    there, said, both = np.split(drawn @ np.hstack([labelled, predicted, labelled * predicted]), 3, axis=1)
    return Counts(there, said, both, total=there.sum(axis=1))


def _each(
    scores: FloatArray, targets: FloatArray, classes: tuple[str, ...]
) -> tuple[dict[str, Ranking], dict[str, Binned]]:
    """Each class by itself: its pictures ranked, and its scores in bins."""
    rankings = {name: ranked(scores[:, k], targets[:, k]) for k, name in enumerate(classes)}
    bins = {}
    for k, name in enumerate(classes):
        known = np.flatnonzero(~np.isnan(targets[:, k]))
        bins[name] = binned_scores(scores[known, k], targets[known, k] > 0.5, known, len(scores), FINE_UNIT)
    return rankings, bins


def _areas(family: str, rankings: dict[str, Ranking], weights: IntArray) -> dict[MetricPath, FloatArray]:
    found = {name: areas(own, weights) for name, own in rankings.items()}
    out: dict[MetricPath, FloatArray] = {}
    for i, metric in enumerate(("ROC_AUC", "PR_AUC")):
        out |= {(f"per_{family}", name, metric): own[i] for name, own in found.items()}
        out[(metric,)] = mean_of_known(np.stack([own[i] for own in found.values()], axis=-1))
    return out


def _support(family: str, whole: IntArray, each: dict[str, IntArray]) -> dict[MetricPath, IntArray]:
    out: dict[MetricPath, IntArray] = {(m.name,): whole for m in METRICS if m.paired and m.overall}
    own = [m.name for m in METRICS if m.paired and family in m.families]
    return out | {(f"per_{family}", name, metric): there for name, there in each.items() for metric in own}


def _rarer(positives: dict[str, IntArray], known: NDArray[np.bool_], classes: tuple[str, ...]) -> dict[str, IntArray]:
    """What a label's metrics rest on: the pictures with it, or without it, whichever are fewer."""
    out = {}
    for k, name in enumerate(classes):
        without = known[:, k].astype(np.int64) - positives[name]
        out[name] = without if 0 < without.sum() < positives[name].sum() else positives[name]
    return out


def _unknowable(
    there: NDArray[np.bool_], known: NDArray[np.bool_], classes: tuple[str, ...]
) -> dict[MetricPath, dict[str, Any]]:
    """How many pictures lack each label; and of labels that no picture lacks, that nothing can be known of them."""
    out: dict[MetricPath, dict[str, Any]] = {}
    for k, name in enumerate(classes):
        absent = int((known[:, k] & ~there[:, k]).sum())
        facts: dict[str, Any] = {"absent": absent}
        if not absent and there[:, k].any():
            facts["unknowable"] = "every test picture has it"
        out[("per_label", name)] = facts
    return out


def _as_tuples(table: NDArray[np.integer[Any]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(v) for v in row) for row in table)
