"""The decision table, row by row: absolute gates, comparing gates, a first model, and which gate decides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tasks.config import HOME, load_line
from tasks.gates.decide import decide
from tasks.kinds import kind_of
from tasks.schemas import Decision
from tests.gates.evaluations import evaluation_of, latency, line_with

DETECTION = kind_of("detection")

AP, SPERM = ("AP50_95",), ("per_class", "sperm", "AP50")
AT_LEAST = {"metric": "AP50", "class": "sperm", "at_least": 0.6}
NOT_WORSE = {"metric": "AP50_95", "not_worse_by": 0.01, "confidence": 0.95}
BETTER = {"metric": "AP50_95", "better_by": 0}
SPREAD = np.linspace(-0.005, 0.005, 101)
"""With 8 recordings the one-sided bounds at 95% lie 0.0059 to both sides: t[7] = 1.895, and sqrt(8/7) more."""


def compared(shift: float, **rest: Any) -> Any:
    """A challenger better by `shift`, with bootstrap draws within 0.005 of that."""
    draws = {AP: (SPREAD + shift).tolist()}
    return evaluation_of({AP: 0.5 + shift, SPERM: 0.8}, {AP: 0.5, SPERM: 0.8}, draws, **rest)


@pytest.mark.parametrize(
    ("shift", "decision"),
    [
        (0.02, Decision.PROMOTE),  # surely better
        (0.0, Decision.PROMOTE),  # surely not worse by the margin
        (-0.004, Decision.PROMOTE),  # worse, but surely within the margin
        (-0.009, Decision.HOLD),  # the margin lies inside the interval
        (-0.012, Decision.HOLD),
        (-0.02, Decision.REJECT),  # surely worse than the margin
    ],
)
def test_non_inferiority(shift: float, decision: Decision) -> None:
    outcome = decide(line_with(NOT_WORSE), compared(shift), DETECTION)
    assert outcome.decision is decision
    (gate,) = outcome.gates
    assert gate.gate == "AP50_95.not_worse_by" and gate.champion_value == 0.5
    assert gate.difference is not None and gate.difference.confidence == 0.9
    assert gate.difference.low == pytest.approx(shift - 0.0059, abs=1e-4)
    for text in (f"{0.5 + shift:.3f}", "0.500", f"{shift:+.3f}", "0.010 worse is allowed", "95%", "8 recordings"):
        assert text in gate.reason


@pytest.mark.parametrize(
    ("shift", "wanted", "decision"),
    [
        (0.02, 0, Decision.PROMOTE),
        (0.005, 0, Decision.HOLD),  # better as measured, but not surely
        (0.0, 0, Decision.HOLD),
        (-0.02, 0, Decision.REJECT),  # surely worse
        (0.02, 0.01, Decision.PROMOTE),
        (0.012, 0.01, Decision.HOLD),
        (0.001, 0.01, Decision.REJECT),  # surely not that much better
    ],
)
def test_superiority(shift: float, wanted: float, decision: Decision) -> None:
    outcome = decide(line_with({**BETTER, "better_by": wanted}), compared(shift), DETECTION)
    assert outcome.decision is decision
    asked = "more than 0.010 better is required" if wanted else "better is required"
    assert asked in outcome.gates[0].reason


def test_the_very_same_model_is_not_worse_and_not_better() -> None:
    same = evaluation_of({AP: 0.5}, {AP: 0.5}, {AP: [0.0] * 100})
    assert decide(line_with({**NOT_WORSE, "not_worse_by": 0}), same, DETECTION).decision is Decision.PROMOTE
    outcome = decide(line_with(BETTER), same, DETECTION)
    assert outcome.decision is Decision.HOLD and "it could be just as good" in outcome.reasons[0]
    assert "so close that no number of recordings one could add would settle it" in outcome.reasons[0]


def test_a_hold_says_how_many_more_recordings_would_probably_settle_it() -> None:
    near, far = (decide(line_with(NOT_WORSE), compared(shift), DETECTION).reasons[0] for shift in (-0.009, -0.005))
    assert "about 480 more test recordings would probably settle it" in near.lower()
    assert "about 15 more test recordings would probably settle it" in far.lower()


def test_an_interval_wider_than_the_line_allows_is_insufficient_and_says_what_would_do() -> None:
    def asked(widest: float, shift: float) -> Any:
        return decide(line_with(NOT_WORSE, evaluation={"max_interval_width": widest}), compared(shift), DETECTION)

    assert asked(0.013, 0.0).decision is Decision.PROMOTE
    wide = asked(0.006, 0.0)
    assert wide.decision is Decision.INSUFFICIENT_DATA
    assert "the interval is 0.012 wide where 0.006 is allowed" in wide.reasons[0]
    assert "about 20 more test recordings would probably make it narrow enough" in wide.reasons[0].lower()
    assert asked(0.006, -0.05).decision is Decision.REJECT, "surely worse, however wide"


@pytest.mark.parametrize(
    ("value", "decision"), [(0.7, Decision.PROMOTE), (0.6, Decision.PROMOTE), (0.59, Decision.REJECT)]
)
def test_absolute_gate(value: float, decision: Decision) -> None:
    outcome = decide(line_with(AT_LEAST), evaluation_of({SPERM: value}, {SPERM: 0.9}), DETECTION)
    assert outcome.decision is decision
    assert outcome.gates[0].value == value and outcome.gates[0].threshold == 0.6
    assert "AP50 of sperm" in outcome.gates[0].reason


def test_a_close_miss_is_shown_with_enough_digits() -> None:
    outcome = decide(line_with(AT_LEAST), evaluation_of({SPERM: 0.59998}, empty=()), DETECTION)
    assert outcome.reasons[0] == "AP50 of sperm is 0.59998; at least 0.600 is required: failed."


def test_a_gate_on_one_size() -> None:
    path = ("per_size", "small", "AP50")
    outcome = decide(
        line_with({"metric": "AP50", "slice": "size.small", "at_least": 0.5}), evaluation_of({path: 0.4}), DETECTION
    )
    assert outcome.decision is Decision.REJECT and outcome.reasons[0].startswith("AP50 in size small is 0.400")


def test_without_a_champion_the_absolute_gates_alone_decide_and_it_says_so() -> None:
    line = line_with(AT_LEAST, NOT_WORSE, BETTER, {"metric": "AP50", "for_each": ["class"], "not_worse_by": 0.02})
    outcome = decide(line, evaluation_of({SPERM: 0.9, AP: 0.5}, clusters=["recording:a"], empty=()), DETECTION)
    assert outcome.decision is Decision.PROMOTE
    assert outcome.reasons[:2] == (
        "The only gate was passed.", "No champion yet: the absolute gates alone decided."
    )  # fmt: skip
    failed = decide(line, evaluation_of({SPERM: 0.1, AP: 0.5}), DETECTION)
    assert failed.decision is Decision.REJECT
    assert "failed" in failed.reasons[0] and "No champion yet" in failed.reasons[1]


def test_a_first_model_is_held_where_no_absolute_gate_could_judge_it() -> None:
    outcome = decide(line_with(NOT_WORSE, BETTER), evaluation_of({AP: 0.5}), DETECTION)
    assert outcome.decision is Decision.HOLD and "add an at_least gate" in outcome.reasons[0]


def test_one_test_recording_cannot_carry_a_difference() -> None:
    """The demo's three clips: one tests. A champion is there, and 'better' cannot be judged by one recording."""
    outcome = decide(line_with(AT_LEAST, NOT_WORSE), compared(0.3, clusters=["recording:a"]), DETECTION)
    assert outcome.decision is Decision.INSUFFICIENT_DATA
    assert "the test split holds 1 recording" in outcome.reasons[0]
    assert "Add and label 4 more recordings for the test split" in outcome.reasons[0]


def test_the_line_says_how_many_clusters_it_takes() -> None:
    line = line_with(NOT_WORSE, evaluation={"min_clusters": 9})
    outcome = decide(line, compared(0.3, clusters=[f"donor:{name}" for name in "abcdef"]), DETECTION)
    assert outcome.decision is Decision.INSUFFICIENT_DATA
    assert "holds 6 donors" in outcome.reasons[0] and "3 more donors" in outcome.reasons[0]


@pytest.mark.parametrize(("confidence", "clusters", "enough"), [(0.95, 5, True), (0.95, 4, False), (0.99, 6, False),
                                                                (0.99, 7, True), (0.9, 4, True)])  # fmt: skip
def test_few_recordings_are_not_passed_off_as_much_confidence(confidence: float, clusters: int, enough: bool) -> None:
    line = line_with({**NOT_WORSE, "confidence": confidence}, evaluation={"min_clusters": 2})
    outcome = decide(line, compared(0.3, clusters=[f"recording:{number}" for number in range(clusters)]), DETECTION)
    assert outcome.decision is (Decision.PROMOTE if enough else Decision.INSUFFICIENT_DATA)
    if not enough:
        assert f"({clusters} can carry {(1 - 0.5**clusters) * 100:.3g}% at most)" in outcome.reasons[0]


def test_where_the_minimum_would_not_be_enough_either_it_is_said_at_once() -> None:
    few = [f"recording:{number}" for number in range(3)]
    reason = decide(line_with(NOT_WORSE), compared(-0.005, clusters=few), DETECTION).reasons[0]
    assert "Add and label 2 more recordings" in reason and "probably about 15 in all" in reason


def test_a_class_seen_in_one_recording_only_cannot_be_compared() -> None:
    gate = {"metric": "AP50", "class": "sperm", "not_worse_by": 0.01}
    evaluation = evaluation_of({SPERM: 0.8}, {SPERM: 0.8}, {SPERM: [0.0] * 10}, carrying=1)
    outcome = decide(line_with(gate), evaluation, DETECTION)
    assert outcome.decision is Decision.INSUFFICIENT_DATA
    assert "only 1 of the 8 test recordings has anything to measure it on" in outcome.reasons[0]
    assert "4 more recordings with 'sperm' labels" in outcome.reasons[0]


def test_a_class_without_test_labels_is_insufficient_and_an_empty_prediction_is_not() -> None:
    gate = {"metric": "precision", "class": "impurity", "at_least": 0.5}
    assert decide(line_with(gate), evaluation_of({SPERM: 0.9}), DETECTION).decision is Decision.INSUFFICIENT_DATA
    blind = evaluation_of({("precision",): None})
    outcome = decide(line_with({"metric": "precision", "at_least": 0.5}), blind, DETECTION)
    assert outcome.decision is Decision.REJECT and "predicted nothing" in outcome.reasons[0]


def test_a_challenger_that_predicts_nothing_is_rejected_by_a_comparison_too() -> None:
    path = ("precision",)
    blind = evaluation_of({path: None}, {path: 0.8}, {path: []})
    outcome = decide(line_with({"metric": "precision", "not_worse_by": 0.1}), blind, DETECTION)
    assert outcome.decision is Decision.REJECT and "predicted nothing" in outcome.reasons[0]


def test_latency_is_judged_on_the_device_that_the_gate_names() -> None:
    line = line_with({"metric": "latency_ms_p95", "at_most": 150, "device": "cpu"})
    values = {("latency_ms_p95",): 9.0}
    on_both = evaluation_of(values, latencies=[latency("cuda:0", 9.0), latency("cpu", 200.0)])
    assert decide(line, on_both, DETECTION).decision is Decision.REJECT
    assert (
        "200.0 ms" in decide(line, on_both, DETECTION).reasons[0]
        and "on cpu (some chip)" in decide(line, on_both, DETECTION).reasons[0]
    )
    elsewhere = decide(line, evaluation_of(values, latencies=[latency("cuda:0", 9.0)]), DETECTION)
    assert elsewhere.decision is Decision.HOLD
    assert "must hold on cpu, and was measured on cuda:0" in elsewhere.reasons[0]
    any_gpu = line_with({"metric": "latency_ms_p95", "at_most": 10, "device": "cuda"})
    assert decide(any_gpu, on_both, DETECTION).decision is Decision.PROMOTE
    assert (
        decide(line_with({"metric": "latency_ms_p95", "at_most": 10}), on_both, DETECTION).decision is Decision.PROMOTE
    )


def test_the_size_of_a_model_is_the_same_on_every_device() -> None:
    path = ("model_size_mb",)
    line = line_with({"metric": "model_size_mb", "at_most": 5, "device": "cpu"})
    small, large = (evaluation_of({path: size}, latencies=[latency("cuda:0", 9.0)]) for size in (4.9, 5.1))
    assert decide(line, small, DETECTION).decision is Decision.PROMOTE
    assert (
        decide(line, large, DETECTION).decision is Decision.REJECT
        and "5.1 MB" in decide(line, large, DETECTION).reasons[0]
    )
    assert decide(line, evaluation_of({}), DETECTION).decision is Decision.HOLD, "an older evaluation does not know it"


def test_calibration_absolute_and_compared() -> None:
    path = ("ECE",)
    line = line_with({"metric": "ECE", "at_most": 0.1}, {"metric": "ECE", "not_worse_by": 0.02})

    def by(shift: float) -> list[Decision]:
        evaluation = evaluation_of({path: 0.08 + shift}, {path: 0.08}, {path: (SPREAD + shift).tolist()})
        return [gate.decision for gate in decide(line, evaluation, DETECTION).gates]

    assert by(-0.05) == [Decision.PROMOTE, Decision.PROMOTE]
    assert by(0.018) == [Decision.PROMOTE, Decision.HOLD]
    assert by(0.05) == [Decision.REJECT, Decision.REJECT]


def test_an_error_metric_is_worse_when_it_grows() -> None:
    line = line_with({"metric": "count_mae", "not_worse_by": 0.5}, {"metric": "count_mae", "better_by": 0.5})
    path = ("count_mae",)

    def by(shift: float) -> list[str]:
        draws = {path: [shift - 0.1, shift, shift + 0.1]}
        return [
            gate.decision.value
            for gate in decide(line, evaluation_of({path: 2 + shift}, {path: 2.0}, draws), DETECTION).gates
        ]

    assert by(-1.0) == ["promote", "promote"]
    assert by(-0.5) == ["promote", "hold"]
    assert by(0.3) == ["promote", "reject"]
    assert by(0.5) == ["hold", "reject"]
    assert by(0.9) == ["reject", "reject"]


def test_the_worst_gate_decides() -> None:
    gates = [AT_LEAST, NOT_WORSE, {"metric": "latency_ms_p95", "at_most": 10, "device": "cuda"}]
    one_cluster = compared(0.1, clusters=["recording:a"], latencies=[latency("cpu", 5.0)])
    outcome = decide(line_with(*gates), one_cluster, DETECTION)
    assert [gate.decision.value for gate in outcome.gates] == ["promote", "insufficient_data", "hold"]
    assert outcome.decision is Decision.INSUFFICIENT_DATA
    stricter = decide(line_with({**AT_LEAST, "at_least": 0.99}, *gates[1:]), one_cluster, DETECTION)
    assert stricter.decision is Decision.REJECT


def test_a_champion_that_predicts_nothing_can_be_replaced() -> None:
    """Its calibration is undefined; that must not keep it in charge for ever."""
    line = line_with({"metric": "ECE", "not_worse_by": 0.1})
    silent = evaluation_of({("ECE",): 0.2}, {("ECE",): None}, {})
    outcome = decide(line, silent, DETECTION)
    assert outcome.decision is Decision.PROMOTE and "the champion predicted nothing" in outcome.reasons[1]


@pytest.mark.parametrize(("undefined", "decision"), [(4, Decision.PROMOTE), (30, Decision.INSUFFICIENT_DATA)])
def test_draws_that_measure_nothing_are_not_passed_over(undefined: int, decision: Decision) -> None:
    draws = [None] * undefined + [0.1] * (100 - undefined)
    found = evaluation_of({("AP50",): 0.6}, {("AP50",): 0.5}, {("AP50",): draws})
    outcome = decide(line_with({"metric": "AP50", "not_worse_by": 0.1}), found, DETECTION)
    assert outcome.decision is decision


IMPURITY = ("per_class", "impurity", "AP50")


@pytest.mark.parametrize(
    ("values", "empty", "said"),
    [
        ({IMPURITY: 0.004}, (), "learned nothing of impurity: AP50 0.004 on 100 labels"),
        ({IMPURITY: None}, (), "learned nothing of impurity: found none on 100 labels"),
        ({}, ("class.impurity",), "nothing is known of impurity: the test split holds no label of it"),
        ({IMPURITY: 0.05}, (), None),
    ],
)
def test_a_class_of_which_nothing_was_learned_is_said_in_the_first_sentence(
    values: dict[Any, Any], empty: tuple[str, ...], said: str | None
) -> None:
    for line, word in (
        (line_with(AT_LEAST), Decision.PROMOTE),
        (line_with({**AT_LEAST, "at_least": 0.95}), Decision.REJECT),
    ):
        outcome = decide(line, evaluation_of({SPERM: 0.9, **values}, empty=empty), DETECTION)
        assert outcome.decision is word, "it is said, and the line's gates decide"
        assert (f"BUT: {said}. To go on: label more" in outcome.reasons[0]) is (said is not None), outcome.reasons
        assert "of sperm:" not in outcome.reasons[0]


def test_the_shipped_line_gates_every_class_it_claims() -> None:
    line = load_line("sperm-detector", HOME / "dags" / "lines")
    absolute = line.model_copy(update={"gates": tuple(gate for gate in line.gates if gate.metric == "AP50")})
    learned = evaluation_of({SPERM: 0.95, IMPURITY: 0.3}, empty=())
    assert decide(absolute, learned, DETECTION).decision is Decision.PROMOTE
    outcome = decide(absolute, evaluation_of({SPERM: 0.95, IMPURITY: 0.004}, empty=()), DETECTION)
    assert outcome.decision is Decision.REJECT
    assert "failed in class impurity (0.004)" in outcome.reasons[0]
    assert "learned nothing of impurity: AP50 0.004 on 100 labels" in outcome.reasons[0]
    unknown = decide(absolute, evaluation_of({SPERM: 0.95}, empty=("class.impurity",)), DETECTION)
    assert unknown.decision is Decision.INSUFFICIENT_DATA
