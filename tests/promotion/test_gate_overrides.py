"""What a run changed of a line's gates, and whether that made them easier to pass."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.config import Line
from tasks.promotion.gate_overrides import described, deviations, loosened, override_of
from tests.gates.evaluations import line_with

GATES: tuple[dict[str, Any], ...] = (
    {"metric": "AP50", "class": "sperm", "at_least": 0.6},
    {"metric": "latency_ms_p95", "at_most": 1000, "device": "cpu"},
    {"metric": "AP50_95", "not_worse_by": 0.02},
    {"metric": "AP50", "better_by": 0.01},
)


def own() -> Line:
    return line_with(*GATES)


@pytest.mark.parametrize(
    ("changes", "easier"),
    [
        ({"gate.AP50.sperm.at_least": 0.0}, True),
        ({"gate.AP50.sperm.at_least": 0.7}, False),
        ({"gate.latency_ms_p95.at_most": 60_000}, True),
        ({"gate.latency_ms_p95.at_most": 10}, False),
        ({"gate.AP50_95.not_worse_by": 0.5}, True),
        ({"gate.AP50_95.not_worse_by": 0.0}, False),
        ({"gate.AP50.better_by": 0.0}, True),
        ({"gate.AP50.better_by": 0.1}, False),
        ({"gate.AP50.better_by": 0.1, "gate.AP50.sperm.at_least": 0.5}, True),
        ({"evaluation.min_clusters": 2}, True),
        ({"evaluation.min_clusters": 50}, True),
        ({"evaluation.max_interval_width": 0.9}, True),
        ({"epochs": 1, "seed": 4, "recipe": "another"}, False),
    ],
)
def test_what_makes_a_gate_easier_to_pass(changes: dict[str, Any], easier: bool) -> None:
    assert loosened(deviations(own(), own().with_changes(changes))) is easier


@pytest.mark.parametrize(
    ("gates", "easier", "said"),
    [
        (GATES[1:], True, "AP50.sperm.at_least is missing"),
        ((*GATES, {"metric": "F1", "at_least": 0.2}), False, "F1.at_least 0.2, which the file does not ask for"),
        ((*GATES[:2], GATES[2] | {"confidence": 0.6}, GATES[3]), True, "with 0.6 confidence instead of 0.95"),
        ((GATES[0], GATES[1] | {"device": "cuda"}, *GATES[2:]), True, "on cuda instead of cpu"),
        (tuple(reversed(GATES)), False, ""),
    ],
)
def test_other_gates_than_the_files(gates: tuple[dict[str, Any], ...], easier: bool, said: str) -> None:
    found = deviations(own(), line_with(*gates))
    assert loosened(found) is easier and said in described(found) and bool(found) is bool(said)


def test_the_sentence_names_what_is_looser_first() -> None:
    changes = {"gate.AP50.sperm.at_least": 0.9, "gate.AP50_95.not_worse_by": 1, "evaluation.score_threshold": 0.5}
    assert described(deviations(own(), own().with_changes(changes))) == (
        "This run's gates differ from the line's file: AP50_95.not_worse_by 1 instead of 0.02; "
        "evaluation.score_threshold 0.5 instead of not set; AP50.sperm.at_least 0.9 instead of 0.6."
    )
    assert described(deviations(own(), own())) == ""


@pytest.mark.parametrize(
    ("override", "note", "by", "counts"),
    [
        (True, "why", "ana", True),
        (False, "why", "ana", False),
        (True, " \u200b", "ana", False),
        (True, "why", "", False),
    ],
)
def test_an_override_has_a_reason_and_a_name(override: bool, note: str, by: str, counts: bool) -> None:
    assert (override_of(override, note, by) is not None) is counts
