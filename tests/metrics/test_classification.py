"""Classification metrics: against scikit-learn and torchmetrics to 1e-9, ties and missing classes included."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error
from torchmetrics.functional.classification.calibration_error import _ce_compute

from tasks.metrics.classification import METRICS, judge
from tasks.metrics.judgement import Judgement, measured

NEAR = {"abs": 1e-9, "rel": 0}


def scene(seed: int, *, images: int = 60, classes: int = 3, ties: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that know something, many of them equal, and the classes [I]."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, images)
    logits = rng.normal(0, 1, (images, classes)) + 1.2 * np.eye(classes)[truth]
    if ties:
        logits = np.round(logits)
    score = np.exp(logits)
    return score / score.sum(axis=1, keepdims=True), truth


def judged(score: np.ndarray, truth: np.ndarray) -> Judgement:
    classes = score.shape[1]
    return judge(score, np.eye(classes)[truth], classes="abcdefgh"[:classes], multi_label=False)


def under(judgement: Judgement, weights: np.ndarray) -> dict[tuple[str, ...], float]:
    return {path: float(value[0]) for path, value in judgement.statistic(weights[None, :]).items()}


def same(found: float, wanted: float) -> None:
    if np.isnan(wanted):
        assert np.isnan(found)
    else:
        assert found == pytest.approx(wanted, **NEAR)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5), ties=st.booleans(), images=st.integers(6, 60))
def test_one_class_equals_scikit_learn_under_weights_and_on_repeated_pictures(
    seed: int, classes: int, ties: bool, images: int
) -> None:
    score, truth = scene(seed, images=images, classes=classes, ties=ties)
    if seed % 4 == 0:
        truth[truth == classes - 1] = 0  # a class that nobody labelled
    weights = np.random.default_rng(seed).integers(0, 3, images)
    if not weights.any():
        return
    found = under(judged(score, truth), weights)
    again = np.repeat(np.arange(images), weights)
    score, truth = score[again], truth[again]
    chosen, labels, names = score.argmax(axis=1), range(classes), "abcdefgh"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(found[("accuracy",)], sk.accuracy_score(truth, chosen))
        same(found[("balanced_accuracy",)], sk.balanced_accuracy_score(truth, chosen))
        macro = sk.precision_recall_fscore_support(truth, chosen, average="macro", zero_division=0)
        for name, value in zip(("macro_precision", "macro_recall", "macro_F1"), macro, strict=False):
            same(found[(name,)], value)
        each = sk.precision_recall_fscore_support(truth, chosen, labels=labels, zero_division=np.nan)
        same(found[("MCC",)], sk.matthews_corrcoef(truth, chosen) if len(set(truth)) > 1 else np.nan)
        if len({*truth, *chosen}) > 1:
            same(found[("kappa",)], sk.cohen_kappa_score(truth, chosen))
        same(found[("log_loss",)], sk.log_loss(truth, score, labels=labels))
        same(found[("Brier",)], sk.brier_score_loss(truth, score if classes > 2 else score[:, 1], labels=labels))
        areas = []
        for k in labels:
            own, there = names[k], truth == k
            for name, value in zip(("precision", "recall"), each, strict=False):
                same(found[("per_class", own, name)], value[k])
            same(found[("per_class", own, "F1")], each[2][k] if there.any() or (chosen == k).any() else np.nan)
            both = there.any() and not there.all()
            areas.append(sk.roc_auc_score(there, score[:, k]) if both else np.nan)
            same(found[("per_class", own, "ROC_AUC")], areas[-1])
            same(found[("per_class", own, "PR_AUC")],
                 sk.average_precision_score(there, score[:, k]) if there.any() else np.nan)  # fmt: skip
            same(found[("per_class", own, "MCC")], sk.matthews_corrcoef(there, chosen == k) if both else np.nan)
        known = [value for value in areas if not np.isnan(value)]
        same(found[("ROC_AUC",)], float(np.mean(known)) if known else np.nan)
        if classes > 2 and len(known) == classes:
            same(found[("ROC_AUC",)], sk.roc_auc_score(truth, score, multi_class="ovr", average="macro"))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), images=st.integers(6, 60))
def test_labels_equal_scikit_learn_where_values_are_missing(seed: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    targets = (rng.random((images, 3)) < [0.5, 0.1, 0.9]).astype(np.float64)
    score = np.clip(np.round(rng.random((images, 3)) * 0.7 + 0.3 * targets, 1), 0.01, 0.99)
    targets[rng.random(targets.shape) < 0.3] = np.nan
    targets[:, 2] = np.nan if seed % 5 == 0 else targets[:, 2]
    weights = rng.integers(0, 3, images)
    found = under(judge(score, targets, classes="abc", multi_label=True), weights)
    again = np.repeat(np.arange(images), weights)
    values: dict[str, list[float]] = {}
    for k, name in enumerate("abc"):
        kept = again[~np.isnan(targets[again, k])]
        truth, own = targets[kept, k] > 0.5, score[kept, k]
        both, some = truth.any() and not truth.all(), len(kept) > 0
        said = own >= 0.5
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = {
                "accuracy": sk.accuracy_score(truth, said) if some else np.nan,
                "balanced_accuracy": sk.balanced_accuracy_score(truth, said) if both else np.nan,
                "ROC_AUC": sk.roc_auc_score(truth, own) if both else np.nan,
                "PR_AUC": sk.average_precision_score(truth, own) if truth.any() else np.nan,
                "F1": sk.f1_score(truth, said) if truth.any() or said.any() else np.nan,
                "MCC": sk.matthews_corrcoef(truth, said) if both else np.nan,
                "log_loss": sk.log_loss(truth, own, labels=[0, 1]) if some else np.nan,
                "Brier": sk.brier_score_loss(truth, own, labels=[0, 1]) if some else np.nan,
            }
        for metric, value in wanted.items():
            same(found[("per_label", name, metric)], value)
            values.setdefault(metric, []).append(value)
    for metric, each in values.items():
        known = [value for value in each if not np.isnan(value)]
        name = "macro_F1" if metric == "F1" else metric
        same(found[(name,)], float(np.mean(known)) if known else np.nan)


@pytest.mark.parametrize("seed", range(4))
def test_calibration_equals_torchmetrics(seed: int) -> None:
    score, truth = scene(seed, images=300, ties=False)
    found = measured(judged(score, truth), 300)
    wanted = multiclass_calibration_error(torch.tensor(score), torch.tensor(truth), num_classes=3, n_bins=10)
    assert found["ECE"] == pytest.approx(float(wanted), abs=1e-6), "it rounds scores to float32"
    sure, right = torch.tensor(score.max(axis=1)), torch.tensor(score.argmax(axis=1) == truth)
    assert found["ECE"] == pytest.approx(float(_ce_compute(sure, right, 10)), **NEAR)
    for k, name in enumerate("abc"):
        own, there = torch.tensor(score[:, k]), torch.tensor(truth == k)
        ours = found["per_class"][name]["ECE"]
        assert ours == pytest.approx(float(binary_calibration_error(own, there, n_bins=10)), abs=1e-6)
        assert ours == pytest.approx(float(_ce_compute(own, there, 10)), **NEAR)


def test_a_label_that_is_never_claimed_lowers_the_macro_precision_as_in_scikit_learn() -> None:
    targets = np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    score = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.2, 0.1]])
    found = measured(judge(score, targets, classes="ab", multi_label=True), 4)
    wanted = sk.precision_recall_fscore_support(targets, score >= 0.5, average="macro", zero_division=0)
    for name, value in zip(("macro_precision", "macro_recall", "macro_F1"), wanted, strict=False):
        assert found[name] == pytest.approx(value, **NEAR)
    assert found["per_label"]["b"]["precision"] is None


def test_what_cannot_be_measured_is_none_and_never_zero() -> None:
    score = np.array([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1]])
    found = measured(judged(score, np.array([0, 0])), 2)
    assert found["accuracy"] == 1.0 and found["MCC"] is None and found["ROC_AUC"] is None
    assert found["per_class"]["b"] | {"ECE": 0} == {
        "precision": None, "recall": None, "F1": None, "MCC": None, "ROC_AUC": None, "PR_AUC": None, "ECE": 0,
        "labels": 0,
    }  # fmt: skip


def test_a_model_that_always_says_the_same_has_no_correlation() -> None:
    found = measured(judged(np.tile([0.6, 0.3, 0.1], (30, 1)), np.arange(30) % 3), 30)
    assert found["MCC"] == 0.0 and found["kappa"] == 0.0
    assert {own["MCC"] for own in found["per_class"].values()} == {0.0}


def test_a_picture_that_nobody_labelled_counts_nowhere() -> None:
    score, truth = scene(0, images=20)
    targets = np.eye(3)[truth]
    with_gap = np.vstack([targets, np.full(3, np.nan)])
    whole = judge(score, targets, classes="abc", multi_label=False)
    gap = judge(np.vstack([score, [0.2, 0.5, 0.3]]), with_gap, classes="abc", multi_label=False)
    assert measured(gap, 21) == measured(whole, 20)
    assert gap.confusion == whole.confusion and gap.errors[-1] == 0


def test_every_metric_that_gates_may_name_is_measured_and_supported() -> None:
    score, truth = scene(1)
    one = judged(score, truth)
    many = judge(score, np.eye(3)[truth], classes="abc", multi_label=True)
    for judgement, family in ((one, "class"), (many, "label")):
        found = judgement.statistic(np.ones((2, 60), dtype=np.int64))
        wanted = {(m.name,) for m in METRICS if m.paired and m.overall}
        wanted |= {
            (f"per_{family}", name, m.name) for name in "abc" for m in METRICS if m.paired and family in m.families
        }
        assert wanted == set(found) == set(judgement.support)
        assert all(value.shape == (2,) for value in found.values())


def test_the_surest_mistake_is_the_worst() -> None:
    score = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    errors = judged(score, np.array([1, 1, 1])).errors
    assert errors[0] > errors[1] > errors[2] == 0 and errors.astype(int).tolist() == [1, 1, 0]


def test_confusion_and_outcomes() -> None:
    score = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    table = judged(score, np.array([0, 1, 1])).confusion
    assert table is not None and table.counts == ((1, 0), (1, 1)) and table.rows_are == "labelled"
    targets = np.array([[1, 0], [0, np.nan], [1, 1]])
    found: Any = judge(score, targets, classes="ab", multi_label=True).confusion
    assert found.counts == ((1, 1, 0, 1), (1, 0, 1, 0)) and found.rows_are == "labels"


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_roc_curve_has_the_area_that_is_measured(seed: int) -> None:
    score, truth = scene(seed, images=40)
    judgement = judged(score, truth)
    found = measured(judgement, 40)
    curve = judgement.curves[0]
    for name, (x, y) in curve.series.items():
        if x:
            assert np.trapezoid(y, x) == pytest.approx(found["per_class"][name]["ROC_AUC"], abs=1e-4)
    assert curve.chance and curve.metric == "ROC_AUC"


def test_ten_thousand_pictures_and_many_resamples_stay_in_memory() -> None:
    """Values are computed in chunks; each chunk is what it is alone."""
    score, truth = scene(0, images=10_000)
    judgement = judged(score, truth)
    weights = np.random.default_rng(0).integers(0, 3, (401, 10_000))
    found = judgement.statistic(weights)
    alone = judgement.statistic(weights[400:])
    for path, value in found.items():
        assert value.shape == (401,) and value[400] == alone[path][0]
