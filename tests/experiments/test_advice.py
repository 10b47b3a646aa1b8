"""Each rule of a diagnosis, by numbers made up for it: when it speaks, what it says, and what comes first."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tasks.config import HOME
from tasks.experiments.diagnosis.advice import LEAST_WORTH, RULES, SENTENCES, advise
from tasks.experiments.diagnosis.findings import (
    CurvePoint,
    DiagnosisReport,
    ErrorCost,
    LabelNoise,
    LearningCurve,
    Measure,
    Slice,
    TrainingHealth,
)
from tasks.metrics.learning_curve import Rise
from tasks.metrics.threshold import ThresholdGain

MAIN = Measure(
    metric="AP50", title="AP50", value=0.9, low=0.87, high=0.93, digits=3, groups=8, noun="donor", confidence=0.95
)
QUIET = LabelNoise(frames=40, labels=800, models=("model 3",), doubts=(), counts={}, explored=None)
MANY = LabelNoise(
    frames=40, labels=800, models=("model 3", "fold 1 of 2"), doubts=(), counts={"unlabelled": 60, "unfound": 20},
    explored=7,
)  # fmt: skip
MISSED = ErrorCost(
    name="missed",
    title="Missed",
    meaning="labelled, and not found",
    advice="Label more frames that look like those below.",
    count=31,
    cost=0.06,
)
HEALTHY = TrainingHealth(
    epochs=100, steps=900, seconds=600, metric="val/AP50", plateau=None, plateau_since=None, rising=0.001,
    still_best_epoch=80,
)  # fmt: skip


def found(**parts: Any) -> DiagnosisReport:
    base: dict[str, Any] = {
        "line": "cells", "kind": "detection", "model_version": "3", "dataset_version": "d" * 64, "images": 40,
        "main": MAIN, "advice": (), "errors": (), "slices": (), "threshold": None, "label_noise": QUIET,
        "training": HEALTHY, "learning_curve": None, "unlearned": (), "not_run": (), "evaluation_oid": "e" * 64,
        "seconds": 1.0,
    }  # fmt: skip
    return DiagnosisReport(**base | parts)


def a_curve(per_doubling: float, low: float | None, high: float | None) -> LearningCurve:
    rise = Rise(
        per_doubling=per_doubling,
        low=low,
        high=high,
        confidence=0.95,
        from_groups=20,
        to_groups=40,
        seeds=3,
        fitted=0.1,
    )
    point = CurvePoint(state="finished", groups=40, frames=400, seed=0, dataset_version="d" * 64, value=0.9)
    return LearningCurve(metric="AP50", seeds=(0, 1, 2), points=(point,), rise=rise, complete=True)


def a_slice(family: str, name: str, value: float, share: float = 0.5, **rest: Any) -> Slice:
    about = {"about": "", "metric": "AP50", "overall": 0.9, "labels": 100}
    return Slice(family=family, name=name, value=value, share=share, **about | rest)


def a_threshold(gain: float, low: float) -> ThresholdGain:
    return ThresholdGain(
        shipped=0.25, shipped_F1=0.8, best=0.41, best_F1=0.9, gain=gain, low=low, high=0.2, confidence=0.95
    )


def of_rule(rule: str, report: DiagnosisReport) -> Any:
    (own,) = [each(report) for each in RULES if each.__name__ == rule]
    return own


@pytest.mark.parametrize(
    ("rule", "report", "worth", "sentence"),
    [
        ("more_data", found(learning_curve=a_curve(0.04, 0.01, 0.07),
                            slices=(a_slice("study", "B", 0.8), a_slice("study", "A", 0.95))), 0.04,
         "Label 40 more donors of study B: the curve still rises by 0.040 AP50 per doubling (from 20 to 40, 0.010 to "
         "0.070)."),
        ("more_data", found(learning_curve=a_curve(0.04, -0.01, 0.09)), 0.02,
         "Label 40 more donors: the curve still rises by 0.040 AP50 per doubling (from 20 to 40, -0.010 to 0.090; not "
         "sure)."),
        ("more_data", found(learning_curve=a_curve(0.04, None, None)), 0.02, "(from 20 to 40; not sure)."),
        ("error_kind", found(errors=(MISSED, MISSED.model_copy(update={"name": "both", "cost": 0.01}))), 0.03,
         "Work on the 31 errors of the kind missed (labelled, and not found), which cost at most 0.060 AP50: label "
         "more frames that look like those in the verdict's report."),
        ("threshold", found(threshold=a_threshold(0.07, 0.02)), 0.07,
         "Set the score threshold to 0.41 instead of 0.25"),
        ("labels", found(label_noise=MANY), 0.05,
         "(60 confident predictions without a label, 20 labels that several models do not find): they are 10.0% of "
         "the 800 labels"),
        ("weak_slice", found(slices=(a_slice("size", "small", 0.7, 0.4, about="sides to 12 px"),
                                     a_slice("recording", "a.mp4", 0.6, 0.1))), 0.04,
         "Train at a larger input size (imgsz), or label more frames with small objects (sides to 12 px): AP50 is "
         "0.700 there and 0.900 on the whole test split (100 labels)."),
        ("weak_slice", found(slices=(a_slice("class", "impurity", 0.5), a_slice("class", "sperm", 0.97))), 0.1,
         "Label more of impurity: AP50 is 0.500 there"),
        ("unlearned", found(unlearned=("learned nothing of impurity: AP50 0.004 on 149 labels",),
                            slices=(a_slice("class", "impurity", 0.004), a_slice("class", "sperm", 0.964))), 0.24,
         "The model has learned nothing of impurity: AP50 0.004 on 149 labels: label more of it"),
        ("train_longer", found(training=HEALTHY.model_copy(update={"rising": 0.03, "still_best_epoch": 97})), 0.015,
         "Train longer than 100 epochs"),
        ("test_more", found(main=MAIN.model_copy(update={"low": 0.7, "high": 0.95})), None,
         "AP50 lies anywhere from 0.700 to 0.950 on 8 donors, and about "),
        ("test_more", found(main=MAIN.model_copy(update={"low": None, "high": None, "groups": 1})), None,
         "of 1 donor nobody can tell how sure AP50 0.900 is."),
        ("test_more", found(main=MAIN.model_copy(update={"value": None})), None, "Label frames of the test split"),
        ("enough_data", found(learning_curve=a_curve(0.001, -0.01, 0.01)), None,
         "doubling the data from 20 to 40 donors brought +0.001 AP50."),
        ("measure_curve", found(), None, "`nightscope diagnose cells --learning-curve` trains 12 times, about 2.0 h"),
        ("train_shorter", found(training=HEALTHY.model_copy(update={"plateau_since": 30})), None,
         "after epoch 30 of 100 nothing got better (val/AP50)."),
        ("cross_validate", found(), None, "not only those of 40 frames: `nightscope cross-validate cells`"),
        ("search", found(), None, "`nightscope search cells --space FILE`"),
        ("leave_it", found(), None, "Let it work"),
    ],
)  # fmt: skip
def test_a_rule_says_what_its_numbers_say(
    rule: str, report: DiagnosisReport, worth: float | None, sentence: str
) -> None:
    advice = of_rule(rule, report)
    assert advice is not None and advice.rule == rule and sentence in advice.sentence
    assert advice.sentence.endswith(".") and "\n" not in advice.sentence
    assert advice.worth == (None if worth is None else pytest.approx(worth))


@pytest.mark.parametrize(
    ("rule", "report"),
    [
        ("more_data", found(learning_curve=a_curve(LEAST_WORTH / 2, 0.001, 0.004))),
        ("more_data", found()),
        ("error_kind", found()),
        ("threshold", found(threshold=a_threshold(0.07, -0.01))),
        ("threshold", found(threshold=a_threshold(0.07, 0.0).model_copy(update={"gain": None, "low": None}))),
        ("labels", found(label_noise=QUIET.model_copy(update={"counts": {"unfound": 4}}))),
        ("labels", found(label_noise=QUIET.model_copy(update={"counts": {"unfound": 7}}))),
        ("labels", found(label_noise=MANY.model_copy(update={"counts": {"unfound": 90, "otherwise": 7}, "alone": 90}))),
        ("weak_slice", found(slices=(a_slice("size", "small", 0.86),))),
        ("weak_slice", found(unlearned=("learned nothing of dust: AP50 0.0 on 9 labels",),
                             slices=(a_slice("class", "dust", 0.0),))),
        ("unlearned", found()),
        ("train_longer", found()),
        ("train_longer", found(training=None)),
        ("train_longer", found(training=HEALTHY.model_copy(update={"rising": None, "still_best_epoch": 100}))),
        ("test_more", found()),
        ("enough_data", found(learning_curve=a_curve(0.04, 0.01, 0.07))),
        ("measure_curve", found(learning_curve=a_curve(0.04, 0.01, 0.07))),
        ("train_shorter", found(training=HEALTHY.model_copy(update={"plateau_since": 70}))),
        ("cross_validate", found(label_noise=MANY)),
    ],
)  # fmt: skip
def test_a_rule_is_silent_where_its_numbers_say_nothing(rule: str, report: DiagnosisReport) -> None:
    assert of_rule(rule, report) is None


def test_the_most_valuable_comes_first_and_there_are_always_three() -> None:
    everything = found(
        learning_curve=a_curve(0.04, 0.01, 0.07), errors=(MISSED,), threshold=a_threshold(0.07, 0.02), label_noise=MANY
    )
    assert [advice.rule for advice in advise(everything)] == ["threshold", "labels", "more_data"]
    assert [advice.rule for advice in advise(found(errors=(MISSED,)))] == [
        "error_kind", "measure_curve", "cross_validate",
    ]  # fmt: skip
    perfect = found(learning_curve=a_curve(0.0, -0.01, 0.01), label_noise=MANY.model_copy(update={"counts": {}}))
    assert [advice.rule for advice in advise(perfect)] == ["enough_data", "search", "leave_it"]
    assert len(advise(found())) == SENTENCES


def test_what_is_worth_next_to_nothing_is_not_said() -> None:
    small = MISSED.model_copy(update={"cost": LEAST_WORTH})
    assert "error_kind" not in [advice.rule for advice in advise(found(errors=(small,)))]


def test_every_rule_is_written_down() -> None:
    page = (HOME / "docs" / "how-to" / "diagnose.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|", page, re.M)
    assert rows == [rule.__name__ for rule in RULES]
