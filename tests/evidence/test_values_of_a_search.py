"""Whether a line as it was judged has the values of the trial that it names."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.config import HOME, load_line
from tasks.evidence.collect import _has

VALUES = {"lr0": 0.004, "seed": 3, "evaluation.resamples": 150, "gate.AP50.sperm.at_least": 0.5}


@pytest.mark.parametrize(
    ("judged", "has"),
    [({}, True), ({"lr0": 0.005}, False), ({"evaluation.resamples": 151}, False), ({"seed": 4}, False)],
)
def test_every_value_counts_whatever_it_is_of(judged: dict[str, Any], has: bool) -> None:
    line = load_line("sperm-detector", HOME / "dags" / "lines").with_changes({**VALUES, **judged})
    assert _has(line, VALUES) is has


def test_a_gate_that_the_line_has_no_more_is_another_value() -> None:
    line = load_line("sperm-detector", HOME / "dags" / "lines")
    assert not _has(line, {"gate.recall.at_least": 0.5})
