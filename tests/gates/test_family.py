"""Gates on each of many slices: all must pass, one bad slice is enough, and chance among many is reckoned with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tasks.gates.decide import Outcome, decide
from tasks.kinds import kind_of
from tasks.metrics.judgement import address
from tasks.schemas import Decision
from tests.gates.evaluations import SLICES, evaluation_of, line_with

DETECTION = kind_of("detection")

EACH = {"metric": "AP50_95", "for_each": ["class", "size"], "not_worse_by": 0.01}
SPREAD = np.linspace(-0.005, 0.005, 101)


def judged(
    shifts: Mapping[str, float], *, gate: dict[str, Any] = EACH, evaluation: dict[str, Any] | None = None, **rest: Any
) -> Outcome:
    """A challenger better by so much in each slice; 0 where nothing is said."""
    paths = {where: address("AP50_95", where) for where in SLICES}
    champion = dict.fromkeys(paths.values(), 0.5)
    challenger = {path: 0.5 + shifts.get(where, 0.0) for where, path in paths.items()}
    draws = {path: (SPREAD + shifts.get(where, 0.0)).tolist() for where, path in paths.items()}
    line = line_with(gate, evaluation=evaluation or {})
    return decide(line, evaluation_of(challenger, champion, draws, **{"empty": (), **rest}), DETECTION)


def test_every_slice_must_pass() -> None:
    outcome = judged({})
    (gate,) = outcome.gates
    assert outcome.decision is Decision.PROMOTE
    assert [found.slice for found in gate.slices] == list(SLICES)
    assert all(found.decision is Decision.PROMOTE and found.clusters == 8 for found in gate.slices)
    assert gate.reason == (
        "AP50-95 in each of 5 slices (0.010 worse is allowed, at 95% confidence): "
        "passed in class sperm, class impurity, size small, size medium and size large."
    )


def test_one_slice_that_is_not_sure_holds_and_one_that_surely_fails_rejects() -> None:
    unsure = judged({"size.small": -0.009})
    assert unsure.decision is Decision.HOLD
    assert "not shown either way in size small (it could be worse by 0.015; about" in unsure.reasons[0]
    assert "Passed in class sperm, class impurity, size medium and size large." in unsure.reasons[0]
    failed = judged({"size.small": -0.009, "class.impurity": -0.1})
    assert failed.decision is Decision.REJECT
    assert "failed in class impurity (it is worse by at least 0.094)" in failed.reasons[0]
    decisions = {found.slice: found.decision for found in failed.gates[0].slices}
    assert decisions["class.impurity"] is Decision.REJECT and decisions["size.small"] is Decision.HOLD


def test_a_slice_surely_worse_alone_but_not_among_five_is_a_hold() -> None:
    """At 95% the bound lies 0.0059 below the middle, at 99%, which is one of five, 0.0093."""
    alone = judged({"size.small": -0.018}, gate={"metric": "AP50_95", "slice": "size.small", "not_worse_by": 0.01})
    among = judged({"size.small": -0.018})
    assert alone.decision is Decision.REJECT and among.decision is Decision.HOLD
    assert "among 5 one looks so by chance too often" in among.reasons[0]
    assert judged({"size.small": -0.02}).decision is Decision.REJECT
    wide = judged({"size.small": -0.018}, evaluation={"max_interval_width": 0.01})
    assert wide.decision is Decision.INSUFFICIENT_DATA, "too wide stays too wide, however bad the middle looks"


def test_the_correction_steps_down() -> None:
    """Holm: each slice that is rejected leaves fewer among which chance could have chosen the next."""
    asked = {"metric": "AP50_95", "for_each": ["class"], "not_worse_by": 0.01}
    assert judged({"class.sperm": -0.0167}, gate=asked).decision is Decision.HOLD
    both = judged({"class.sperm": -0.0167, "class.impurity": -0.1}, gate=asked)
    assert [found.decision for found in both.gates[0].slices] == [Decision.REJECT, Decision.REJECT]


def test_sizes_without_labels_are_left_out_and_named() -> None:
    outcome = judged({}, empty=("size.medium", "size.large"))
    assert outcome.decision is Decision.PROMOTE
    assert "Left out for want of labels in the test split: size medium and size large." in outcome.reasons[1]
    assert [found.slice for found in outcome.gates[0].slices if found.decision is None] == ["size.medium", "size.large"]


@pytest.mark.parametrize(
    ("gate", "empty"),
    [
        (EACH, "class.impurity"),
        ({"metric": "AP50_95", "for_each": ["class"], "at_least": 0.1}, "class.impurity"),
        ({"metric": "AP50_95", "for_each": ["size.small"], "not_worse_by": 0.01}, "size.small"),
    ],
)
def test_what_was_asked_for_by_name_is_never_left_out(gate: dict[str, Any], empty: str) -> None:
    outcome = judged({}, gate=gate, empty=(empty,))
    assert outcome.decision is Decision.INSUFFICIENT_DATA
    assert f"{empty.replace('.', ' ')} (no label of it in the test split)" in outcome.reasons[0]


def test_a_slice_in_too_few_recordings_is_insufficient_and_says_so() -> None:
    outcome = judged({}, carrying={("per_size", "large", "AP50_95"): 2})
    assert outcome.decision is Decision.INSUFFICIENT_DATA
    text = "too little data in size large (only 2 of 8 test recordings, and at least 5 are needed)"
    assert text in outcome.reasons[0]
    large = outcome.gates[0].slices[-1]
    assert "Add and label 3 more recordings with 'large' labels" in large.reason and large.clusters == 2


def test_an_absolute_gate_for_each_class() -> None:
    gate = {"metric": "AP50", "for_each": ["class"], "at_least": 0.5}
    values = {address("AP50", "class.sperm"): 0.7, address("AP50", "class.impurity"): 0.2}
    outcome = decide(line_with(gate), evaluation_of(values, empty=()), DETECTION)
    assert outcome.decision is Decision.REJECT
    assert outcome.gates[0].reason == (
        "AP50 in each of 2 slices (at least 0.500 is required): "
        "failed in class impurity (0.200). Passed in class sperm."
    )
    unmeasured = decide(line_with(gate), evaluation_of(values), DETECTION)
    assert unmeasured.decision is Decision.INSUFFICIENT_DATA, "no impurity to measure it on"


def test_a_slice_asked_for_twice_counts_once() -> None:
    outcome = judged({}, gate={**EACH, "for_each": ["size.small", "size", "size.small"]})
    assert [found.slice for found in outcome.gates[0].slices] == ["size.small", "size.medium", "size.large"]


@pytest.mark.parametrize("slices", [["class.sperm"], ["class"]])
def test_without_a_champion_nothing_is_compared(slices: list[str]) -> None:
    gate = {"metric": "AP50_95", "for_each": slices, "not_worse_by": 0.01}
    absolute = {"metric": "AP50", "at_least": 0.1}
    outcome = decide(line_with(absolute, gate), evaluation_of({("AP50",): 0.5}), DETECTION)
    assert outcome.decision is Decision.PROMOTE and "there is no champion yet" in outcome.gates[1].reason
