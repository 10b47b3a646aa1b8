"""Gates that make no sense are refused before anything is trained, all their faults at once."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.errors import ConfigError
from tasks.gates.checks import check_gates
from tasks.kinds import kind_of
from tests.gates.evaluations import line_with

DETECTION = kind_of("detection")

GOOD: tuple[dict[str, Any], ...] = (
    {"metric": "AP50", "class": "sperm", "at_least": 0.6},
    {"metric": "AP50_95", "not_worse_by": 0.01},
    {"metric": "AP50_95", "better_by": 0.0},
    {"metric": "AP50_95", "for_each": ["class", "size.small"], "not_worse_by": 0.03},
    {"metric": "recall", "for_each": ["class"], "at_least": 0.3},
    {"metric": "AP50", "slice": "size.large", "not_worse_by": 0.05, "confidence": 0.9},
    {"metric": "ECE", "at_most": 0.2},
    {"metric": "ECE", "class": "sperm", "not_worse_by": 0.02},
    {"metric": "latency_ms_p95", "at_most": 150, "device": "cuda:0"},
    {"metric": "model_size_mb", "at_most": 50, "device": "cpu"},
)


def test_every_sort_of_gate_together() -> None:
    check_gates(line_with(*GOOD), DETECTION)


def test_all_faults_of_all_gates_at_once() -> None:
    line = line_with(
        {"metric": "mAP", "at_least": 0.5},
        {"metric": "latency_ms_p95", "not_worse_by": 3},
        {"metric": "AP50", "at_most": 0.5, "device": "cpu"},
        {"metric": "latency_ms_p50", "class": "sperm", "at_most": 5, "device": "abacus"},
        {"metric": "AP50", "slice": "size.tiny", "at_least": 0.5},
        {"metric": "AP50", "for_each": ["colour", "class.egg"], "not_worse_by": 0.5},
    )
    with pytest.raises(ConfigError) as error:
        check_gates(line, DETECTION)
    for fault in ("unknown metric 'mAP'", "no interval to compare by", "use at_least", "does not depend on a device",
                  "not measured for a single class", "unknown device 'abacus'", "unknown size 'tiny' (size.small",
                  "unknown slice family 'colour' (families: class, size)", "unknown class 'egg'",
                  "AP50_95", "size: small, medium, large", "fault(s) in its gates"):  # fmt: skip
        assert fault in str(error.value)


@pytest.mark.parametrize(
    ("gate", "fault"),
    [
        ({"metric": "AP50", "at_least": 2}, "can never be reached"),
        ({"metric": "AP50", "better_by": 1}, "can never be reached"),
        ({"metric": "AP50", "not_worse_by": 1}, "can never fail"),
        ({"metric": "ECE", "at_least": 0.1}, "use at_most"),
        ({"metric": "ECE", "for_each": ["size"], "not_worse_by": 0.1}, "ECE is not measured for slices by size"),
        ({"metric": "model_size_mb", "slice": "size.small", "at_most": 5}, "not measured for slices by size"),
        ({"metric": "model_size_mb", "better_by": 5}, "no interval to compare by"),
        ({"metric": "AP50", "for_each": ["class"], "better_by": 0}, "superiority is asked in one place"),
        ({"metric": "AP50", "slice": "size", "at_least": 0.1}, "a whole family of slices"),
    ],
)
def test_one_fault(gate: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_gates(line_with(gate), DETECTION)
    assert fault in str(error.value) and "1 fault(s)" in str(error.value)
