"""The decision table, row by row, and what must hold for any numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import ConfigError
from tasks.gates.checks import check_gates
from tasks.gates.decide import SEVERITY, decide
from tasks.schemas import Decision
from tests.gates.evaluations import evaluation_of, latency, line_with

AP, SPERM = ("AP50_95",), ("per_class", "sperm", "AP50")
AT_LEAST = {"metric": "AP50", "class": "sperm", "at_least": 0.6}
NOT_WORSE = {"metric": "AP50_95", "not_worse_by": 0.01, "confidence": 0.95}
SPREAD = np.linspace(-0.005, 0.005, 101)


def compared(shift: float, **rest: Any) -> Any:
    """A challenger better by `shift`, with bootstrap draws within 0.005 of that."""
    draws = {AP: (SPREAD + shift).tolist()}
    return evaluation_of({AP: 0.5 + shift, SPERM: 0.8}, {AP: 0.5, SPERM: 0.8}, draws, **rest)


@pytest.mark.parametrize(
    ("shift", "decision"),
    [
        (0.02, Decision.PROMOTE),  # surely better
        (0.0, Decision.PROMOTE),  # surely not worse by the margin
        (-0.005, Decision.PROMOTE),  # worse, but surely within the margin
        (-0.009, Decision.HOLD),  # the margin lies inside the interval
        (-0.012, Decision.HOLD),
        (-0.02, Decision.REJECT),  # surely worse than the margin
    ],
)
def test_difference_gate(shift: float, decision: Decision) -> None:
    outcome = decide(line_with(NOT_WORSE), compared(shift))
    assert outcome.decision is decision
    (gate,) = outcome.gates
    assert gate.gate == "AP50_95.not_worse_by" and gate.champion_value == 0.5
    assert gate.difference is not None and gate.difference.confidence == 0.9
    assert gate.difference.low == pytest.approx(shift - 0.0045)
    for number in (f"{0.5 + shift:.3f}", "0.500", f"{shift:+.3f}", "0.010", "95%", "3 recordings"):
        assert number in gate.reason


@pytest.mark.parametrize(
    ("value", "decision"), [(0.7, Decision.PROMOTE), (0.6, Decision.PROMOTE), (0.59, Decision.REJECT)]
)
def test_absolute_gate(value: float, decision: Decision) -> None:
    outcome = decide(line_with(AT_LEAST), evaluation_of({SPERM: value}, {SPERM: 0.9}))
    assert outcome.decision is decision
    assert outcome.gates[0].value == value and outcome.gates[0].threshold == 0.6
    assert "AP50 of sperm" in outcome.gates[0].reason


def test_a_close_miss_is_shown_with_enough_digits() -> None:
    outcome = decide(line_with(AT_LEAST), evaluation_of({SPERM: 0.59998}))
    assert outcome.reasons[0] == "AP50 of sperm is 0.59998; at least 0.600 is required: failed."


def test_without_a_champion_the_absolute_gates_alone_decide_and_it_says_so() -> None:
    line = line_with(AT_LEAST, NOT_WORSE)
    outcome = decide(line, evaluation_of({SPERM: 0.9, AP: 0.5}, clusters=["recording:a"]))
    assert outcome.decision is Decision.PROMOTE
    assert outcome.reasons[:2] == (
        "The only gate was passed.", "No champion yet: the absolute gates alone decided."
    )  # fmt: skip
    failed = decide(line, evaluation_of({SPERM: 0.1, AP: 0.5}))
    assert failed.decision is Decision.REJECT
    assert "failed" in failed.reasons[0] and "No champion yet" in failed.reasons[1]


def test_a_first_model_is_held_where_no_absolute_gate_could_judge_it() -> None:
    outcome = decide(line_with(NOT_WORSE), evaluation_of({AP: 0.5}))
    assert outcome.decision is Decision.HOLD and "add an at_least gate" in outcome.reasons[0]


def test_one_test_recording_cannot_carry_a_difference() -> None:
    """The demo's three clips: one tests. A champion is there, and 'better' cannot be judged by one recording."""
    outcome = decide(line_with(AT_LEAST, NOT_WORSE), compared(0.3, clusters=["recording:a"]))
    assert outcome.decision is Decision.INSUFFICIENT_DATA
    assert "the test split holds 1 recording" in outcome.reasons[0]
    assert "Add and label 1 more recording for the test split" in outcome.reasons[0]


def test_the_line_says_how_many_clusters_it_takes() -> None:
    line = line_with(NOT_WORSE, evaluation={"min_clusters": 5})
    outcome = decide(line, compared(0.3, clusters=["donor:a", "donor:b", "donor:c"]))
    assert outcome.decision is Decision.INSUFFICIENT_DATA
    assert "holds 3 donors" in outcome.reasons[0] and "2 more donors" in outcome.reasons[0]


def test_a_class_seen_in_one_recording_only_cannot_be_compared() -> None:
    gate = {"metric": "AP50", "class": "sperm", "not_worse_by": 0.01}
    evaluation = evaluation_of({SPERM: 0.8}, {SPERM: 0.8}, {SPERM: [0.0] * 10}, carrying=1)
    outcome = decide(line_with(gate), evaluation)
    assert outcome.decision is Decision.INSUFFICIENT_DATA
    assert "only 1 of the 3 test recordings has anything to measure it on" in outcome.reasons[0]
    assert "1 more recording with 'sperm' labels" in outcome.reasons[0]


def test_a_class_without_test_labels_is_insufficient_and_an_empty_prediction_is_not() -> None:
    gate = {"metric": "precision", "class": "impurity", "at_least": 0.5}
    assert decide(line_with(gate), evaluation_of({SPERM: 0.9})).decision is Decision.INSUFFICIENT_DATA
    blind = evaluation_of({("precision",): None})
    outcome = decide(line_with({"metric": "precision", "at_least": 0.5}), blind)
    assert outcome.decision is Decision.REJECT and "predicted nothing" in outcome.reasons[0]


def test_latency_is_judged_on_the_device_that_the_gate_names() -> None:
    line = line_with({"metric": "latency_ms_p95", "at_most": 150, "device": "cpu"})
    values = {("latency_ms_p95",): 9.0}
    on_both = evaluation_of(values, latencies=[latency("cuda:0", 9.0), latency("cpu", 200.0)])
    assert decide(line, on_both).decision is Decision.REJECT
    assert "200.0 ms" in decide(line, on_both).reasons[0] and "on cpu (some chip)" in decide(line, on_both).reasons[0]
    elsewhere = decide(line, evaluation_of(values, latencies=[latency("cuda:0", 9.0)]))
    assert elsewhere.decision is Decision.HOLD
    assert "must hold on cpu, and was measured on cuda:0" in elsewhere.reasons[0]
    any_gpu = line_with({"metric": "latency_ms_p95", "at_most": 10, "device": "cuda"})
    assert decide(any_gpu, on_both).decision is Decision.PROMOTE
    assert decide(line_with({"metric": "latency_ms_p95", "at_most": 10}), on_both).decision is Decision.PROMOTE


def test_an_error_metric_is_worse_when_it_grows() -> None:
    line = line_with({"metric": "count_mae", "not_worse_by": 0.5})
    path = ("count_mae",)

    def by(shift: float) -> Decision:
        draws = {path: [shift - 0.1, shift, shift + 0.1]}
        return decide(line, evaluation_of({path: 2 + shift}, {path: 2.0}, draws)).decision

    assert (by(-1.0), by(0.3), by(0.5), by(0.9)) == (
        Decision.PROMOTE, Decision.PROMOTE, Decision.HOLD, Decision.REJECT
    )  # fmt: skip


def test_the_worst_gate_decides() -> None:
    gates = [AT_LEAST, NOT_WORSE, {"metric": "latency_ms_p95", "at_most": 10, "device": "cuda"}]
    one_cluster = compared(0.1, clusters=["recording:a"], latencies=[latency("cpu", 5.0)])
    outcome = decide(line_with(*gates), one_cluster)
    assert [gate.decision.value for gate in outcome.gates] == ["promote", "insufficient_data", "hold"]
    assert outcome.decision is Decision.INSUFFICIENT_DATA
    stricter = decide(line_with({**AT_LEAST, "at_least": 0.99}, *gates[1:]), one_cluster)
    assert stricter.decision is Decision.REJECT


def test_all_faults_of_all_gates_at_once() -> None:
    line = line_with(
        {"metric": "mAP", "at_least": 0.5},
        {"metric": "latency_ms_p95", "not_worse_by": 3},
        {"metric": "AP50", "at_most": 0.5, "device": "cpu"},
        {"metric": "latency_ms_p50", "class": "sperm", "at_most": 5, "device": "abacus"},
    )
    with pytest.raises(ConfigError) as error:
        check_gates(line)
    for fault in ("unknown metric 'mAP'", "no interval to compare by", "use at_least", "does not depend on a device",
                  "not measured for a single class", "unknown device 'abacus'", "AP50_95"):  # fmt: skip
        assert fault in str(error.value)


def test_a_kind_without_evaluation_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="cannot be evaluated"):
        check_gates(line_with(AT_LEAST, kind="segmentation"))


margins = st.floats(0, 0.2)
draw_lists = st.lists(st.floats(-0.3, 0.3), min_size=3, max_size=40)


@given(draws=draw_lists, shift=st.floats(0, 0.3), margin=margins)
def test_a_better_challenger_never_fares_worse(draws: list[float], shift: float, margin: float) -> None:
    line = line_with({**NOT_WORSE, "not_worse_by": margin})

    def severity(by: float) -> int:
        evaluation = evaluation_of({AP: 0.5 + by}, {AP: 0.5}, {AP: [d + by for d in draws]})
        return SEVERITY.index(decide(line, evaluation).decision)

    assert severity(shift) <= severity(0.0)


@given(draws=draw_lists, margin=margins, more=margins)
def test_a_wider_margin_never_decides_worse(draws: list[float], margin: float, more: float) -> None:
    evaluation = evaluation_of({AP: 0.5}, {AP: 0.5}, {AP: draws})
    narrow = decide(line_with({**NOT_WORSE, "not_worse_by": margin}), evaluation).decision
    wide = decide(line_with({**NOT_WORSE, "not_worse_by": margin + more}), evaluation).decision
    assert SEVERITY.index(wide) <= SEVERITY.index(narrow)


@given(draws=draw_lists, low=st.floats(0.51, 0.98), more=st.floats(0, 0.01))
def test_more_confidence_never_turns_a_doubt_into_a_finding(draws: list[float], low: float, more: float) -> None:
    evaluation = evaluation_of({AP: 0.5}, {AP: 0.5}, {AP: draws})
    modest = decide(line_with({**NOT_WORSE, "confidence": low}), evaluation).decision
    strict = decide(line_with({**NOT_WORSE, "confidence": low + more}), evaluation).decision
    assert strict in (modest, Decision.HOLD)


def test_a_score_that_nothing_can_reach_is_a_fault() -> None:
    with pytest.raises(ConfigError, match="can never be reached"):
        decide(line_with({**AT_LEAST, "at_least": 2}), evaluation_of({SPERM: 1.0}))


@given(value=st.floats(0, 1), least=st.floats(0, 0.5), more=st.floats(0, 0.5))
def test_a_stricter_gate_never_decides_better(value: float, least: float, more: float) -> None:
    evaluation = evaluation_of({SPERM: value})
    lax = decide(line_with({**AT_LEAST, "at_least": least}), evaluation).decision
    strict = decide(line_with({**AT_LEAST, "at_least": least + more}), evaluation).decision
    assert SEVERITY.index(strict) >= SEVERITY.index(lax)


@pytest.mark.parametrize(("clusters", "caution"), [(2, "75%"), (3, "87.5%"), (4, "93.8%"), (5, None)])
def test_few_recordings_are_not_passed_off_as_much_confidence(clusters: int, caution: str | None) -> None:
    evaluation = evaluation_of(
        {("AP50_95",): 0.6}, {("AP50_95",): 0.5}, {("AP50_95",): [0.1] * 100},
        clusters=[f"recording:{number}" for number in range(clusters)],
    )  # fmt: skip
    reason = decide(line_with(NOT_WORSE), evaluation).gates[0].reason
    assert (f"{clusters} recordings can carry {caution} at most" in reason) is (caution is not None)
    assert ("rough" in reason) is (caution is not None)
