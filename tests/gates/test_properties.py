"""What must hold for any numbers: worse never fares better, order does not matter, the same seed decides the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.config import Line
from tasks.evaluation.evaluation import Evaluation
from tasks.gates.decide import Outcome, decide
from tasks.gates.severity import SEVERITY
from tasks.kinds import kind_of
from tasks.metrics.judgement import MetricPath, address
from tasks.schemas import Decision
from tests.bench.simulated_pairs import Model, World, draw, evaluate
from tests.bench.simulated_pairs import line_with as simulated_line
from tests.gates.evaluations import SLICES, evaluation_of, line_with

DETECTION = kind_of("detection")

AP = ("AP50_95",)
NOT_WORSE = {"metric": "AP50_95", "not_worse_by": 0.01, "confidence": 0.95}
EVERY_SORT: tuple[dict[str, Any], ...] = (
    {"metric": "AP50_95", "at_least": 0.4},
    NOT_WORSE,
    {"metric": "AP50_95", "better_by": 0.01},
    {"metric": "AP50_95", "for_each": ["class", "size"], "not_worse_by": 0.02},
    {"metric": "AP50_95", "for_each": ["size"], "at_least": 0.3},
    {"metric": "ECE", "not_worse_by": 0.05},
    {"metric": "ECE", "at_most": 0.3},
)
PLACES: tuple[MetricPath, ...] = (AP, ("ECE",), *(address("AP50_95", where) for where in SLICES))

margins = st.floats(0, 0.2)
draw_lists = st.lists(st.floats(-0.3, 0.3), min_size=3, max_size=40)
spreads = st.floats(0.0001, 0.1)
advantages = st.lists(st.floats(-0.1, 0.1), min_size=len(PLACES), max_size=len(PLACES))
losses = st.lists(st.floats(0, 0.2), min_size=len(PLACES), max_size=len(PLACES))


def severity(decision: Decision) -> int:
    return SEVERITY.index(decision)


def with_advantages(found: list[float], spread: float, clusters: int = 8) -> Evaluation:
    """A challenger better by so much in each place; `ECE` is better when lower."""
    shape = np.linspace(-spread, spread, 51)
    change = {path: -by if path == ("ECE",) else by for path, by in zip(PLACES, found, strict=True)}
    champion = dict.fromkeys(PLACES, 0.4)
    draws = {path: (shape + by).tolist() for path, by in change.items()}
    challenger = {path: 0.4 + by for path, by in change.items()}
    names = [f"recording:{number}" for number in range(clusters)]
    return evaluation_of(challenger, champion, draws, clusters=names, empty=())


@settings(deadline=None, max_examples=40)
@given(found=advantages, lost=losses, spread=spreads, widest=st.none() | st.floats(0.001, 0.2))
def test_worse_numbers_never_improve_a_decision(
    found: list[float], lost: list[float], spread: float, widest: float | None
) -> None:
    line = line_with(*EVERY_SORT, evaluation={"max_interval_width": widest})
    before = decide(line, with_advantages(found, spread), DETECTION)
    after = decide(line, with_advantages([a - b for a, b in zip(found, lost, strict=True)], spread), DETECTION)
    assert severity(after.decision) >= severity(before.decision)
    for was, now in zip(before.gates, after.gates, strict=True):
        assert severity(now.decision) >= severity(was.decision), (was.reason, now.reason)


@settings(deadline=None, max_examples=40)
@given(found=advantages, spread=spreads, order=st.permutations(range(len(EVERY_SORT))))
def test_the_order_of_gates_does_not_matter(found: list[float], spread: float, order: list[int]) -> None:
    evaluation = with_advantages(found, spread)
    plain = decide(line_with(*EVERY_SORT), evaluation, DETECTION)
    shuffled = decide(line_with(*(EVERY_SORT[i] for i in order)), evaluation, DETECTION)
    assert shuffled.decision is plain.decision and set(shuffled.reasons) == set(plain.reasons)
    assert [plain.gates[i] for i in order] == list(shuffled.gates)
    first = next(gate for gate in shuffled.gates if gate.decision is shuffled.decision)
    assert shuffled.decision is Decision.PROMOTE or shuffled.reasons[0] == first.reason


@given(draws=draw_lists, shift=st.floats(0, 0.3), margin=margins)
def test_a_better_challenger_never_fares_worse(draws: list[float], shift: float, margin: float) -> None:
    line = line_with({**NOT_WORSE, "not_worse_by": margin})

    def by(more: float) -> int:
        evaluation = evaluation_of({AP: 0.5 + more}, {AP: 0.5}, {AP: [d + more for d in draws]})
        return severity(decide(line, evaluation, DETECTION).decision)

    assert by(shift) <= by(0.0)


@given(draws=draw_lists, margin=margins, more=margins)
def test_a_wider_margin_never_decides_worse(draws: list[float], margin: float, more: float) -> None:
    evaluation = evaluation_of({AP: 0.5}, {AP: 0.5}, {AP: draws})
    narrow = decide(line_with({**NOT_WORSE, "not_worse_by": margin}), evaluation, DETECTION).decision
    wide = decide(line_with({**NOT_WORSE, "not_worse_by": margin + more}), evaluation, DETECTION).decision
    assert severity(wide) <= severity(narrow)


@given(draws=draw_lists, low=st.floats(0.51, 0.98), more=st.floats(0, 0.01))
def test_more_confidence_never_turns_a_doubt_into_a_finding(draws: list[float], low: float, more: float) -> None:
    evaluation = evaluation_of({AP: 0.5}, {AP: 0.5}, {AP: draws})
    modest = decide(line_with({**NOT_WORSE, "confidence": low}), evaluation, DETECTION).decision
    strict = decide(line_with({**NOT_WORSE, "confidence": low + more}), evaluation, DETECTION).decision
    assert strict in (modest, Decision.HOLD)


@given(value=st.floats(0, 1), least=st.floats(0, 0.5), more=st.floats(0, 0.5))
def test_a_stricter_gate_never_decides_better(value: float, least: float, more: float) -> None:
    path = ("per_class", "sperm", "AP50")
    at_least = {"metric": "AP50", "class": "sperm", "at_least": least}
    lax = decide(line_with(at_least), evaluation_of({path: value}), DETECTION).decision
    strict = decide(line_with({**at_least, "at_least": least + more}), evaluation_of({path: value}), DETECTION).decision
    assert severity(strict) >= severity(lax)


@settings(deadline=None, max_examples=40)
@given(found=advantages, spread=spreads)
def test_an_intersection_is_passed_only_where_each_slice_alone_is_passed(found: list[float], spread: float) -> None:
    evaluation = with_advantages(found, spread)
    each = decide(
        line_with({"metric": "AP50_95", "for_each": ["class", "size"], "not_worse_by": 0.02}), evaluation, DETECTION
    )
    alone = [
        decide(line_with({"metric": "AP50_95", "slice": where, "not_worse_by": 0.02}), evaluation, DETECTION).decision
        for where in SLICES
    ]
    assert (each.decision is Decision.PROMOTE) is all(decision is Decision.PROMOTE for decision in alone)
    assert Decision.REJECT in alone or each.decision is not Decision.REJECT


def test_the_same_boxes_and_seed_decide_the_same_to_the_last_digit() -> None:
    world = World(own_sd=0.6, sliced=True)
    gate = {"metric": "AP50_95", "for_each": ["class", "size"], "not_worse_by": 0.02}
    line = simulated_line(world, gate, resamples=100)

    def outcome(asked: Line) -> Outcome:
        return decide(asked, evaluate(draw(world, {"it": Model()}, 9, seed=3), asked)["it"], DETECTION)

    assert outcome(line) == outcome(line)
    other = line.model_copy(update={"evaluation": line.evaluation.model_copy(update={"seed": 99})})
    assert outcome(other).gates != outcome(line).gates
