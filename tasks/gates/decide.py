"""From an evaluation to a decision, gate by gate, with a sentence for each.

An absolute gate is judged by the measured value (`absolute`), a comparing one by what is surely so (`difference`), a
gate on many slices slice by slice (`family`). What is missing is never counted as passed: a metric without labels to
measure it on is `insufficient_data`; a latency that was not taken on the gate's device is `hold`. Without a champion
the comparing gates have nothing to say and the absolute gates alone decide; a line that has none of those holds. The
worst gate decides: reject > insufficient_data > hold > promote.

Classes that the challenger has learned nothing of are named in the first sentence, whatever the gates asked for.
"""

from __future__ import annotations

from typing import NamedTuple

from tasks.config import Gate, Line
from tasks.evaluation.evaluation import Evaluation
from tasks.evaluation.unlearned import ADVICE, unlearned
from tasks.gates.absolute import judge_value
from tasks.gates.checks import check_gates, metric_of
from tasks.gates.difference import compare
from tasks.gates.family import judge_each
from tasks.gates.findings import Asked
from tasks.gates.severity import SEVERITY, worst
from tasks.kind import Kind
from tasks.schemas import Decision, GateResult

NO_CHAMPION = "no champion yet: the absolute gates alone decided"
"""What marks a line's first champion."""


class Outcome(NamedTuple):
    """What was decided, why (what decided it first), and every gate's finding in the line's order."""

    decision: Decision
    reasons: tuple[str, ...]
    gates: tuple[GateResult, ...]


def decide(line: Line, evaluation: Evaluation, kind: Kind) -> Outcome:
    """Judge a challenger by its line's gates.

    Args:
        line: Its gates, with this run's changes if any.
        evaluation: Of challenger and champion.
        kind: Of the line.

    Raises:
        ConfigError: A gate makes no sense (see `check_gates`).
    """
    check_gates(line, kind)
    results = tuple(_judge(line, kind, gate, evaluation) for gate in line.gates)
    decision = worst(result.decision for result in results)
    sentences = [r.reason for r in sorted(results, key=lambda r: SEVERITY.index(r.decision), reverse=True)]
    judged = [gate for gate in line.gates if evaluation.champion or not gate.compares]
    blind = unlearned(evaluation, kind)
    if not judged:
        reason = "No champion yet, and the line has no absolute gate to judge a first model by: add an at_least gate."
        reasons = (_with(reason, blind), *sentences)
        return Outcome(worst((decision, Decision.HOLD)), reasons, results)
    note = [] if evaluation.champion else [f"{NO_CHAMPION[0].upper()}{NO_CHAMPION[1:]}."]
    if decision is Decision.PROMOTE:
        return Outcome(decision, (_with(_all_passed(len(judged)), blind), *note, *sentences), results)
    return Outcome(decision, (_with(sentences[0], blind), *note, *sentences[1:]), results)


def _with(first: str, blind: tuple[str, ...]) -> str:
    """The first sentence, and at once what nobody may overlook: it is all that many places show."""
    if not blind:
        return first
    said = "; ".join(blind)
    return f"{first} BUT: {said}. To go on: {ADVICE}."


def _all_passed(gates: int) -> str:
    words = {1: "The only gate was passed.", 2: "Both gates were passed."}
    return words.get(gates, f"All {gates} gates were passed.")


def _judge(line: Line, kind: Kind, gate: Gate, evaluation: Evaluation) -> GateResult:
    asked = Asked(line, kind, gate, metric_of(kind, gate), evaluation)
    if gate.for_each:
        return judge_each(asked)
    return (compare if gate.compares else judge_value)(asked, gate.where).as_gate_result(gate)
