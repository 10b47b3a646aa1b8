"""A training is judged once by the same gates, and again by others."""

from __future__ import annotations

import pytest

from tasks import steps
from tasks.config import load_line
from tasks.errors import NothingToDo
from tasks.lake import Lake
from tasks.schemas import Decision, GateResult, Verdict, now
from tasks.steps.news import finished_night, judged_key

LINE = "sperm-detector"


def _thresholds(lake: Lake, **changes: float) -> list[tuple[str, float]]:
    line = load_line(LINE, lake.settings.lines_dir)
    line = line.with_changes({f"gate.{name}": value for name, value in changes.items()}) if changes else line
    return [(gate.id, gate.threshold) for gate in line.gates]


def _held(lake: Lake) -> Verdict:
    """A verdict that leaves the champion in charge, by the line's own gates."""
    gates = tuple(
        GateResult(gate=gate, decision=Decision.HOLD, reason="unsure", threshold=threshold)
        for gate, threshold in _thresholds(lake)
    )
    verdict = Verdict(
        verdict_id="v", line=LINE, run_key="k" * 64, verdict=Decision.HOLD, reasons=("unsure",), gates=gates,
        metrics={}, dataset_version="d" * 64, model_version="2", mlflow_run="r", evaluation_oid="e" * 64, at=now(),
    )  # fmt: skip
    lake.tables.append("verdicts", [verdict])
    return verdict


def test_a_night_is_filed_by_its_training_and_its_gates(installed: Lake) -> None:
    verdict = _held(installed)
    with pytest.raises(NothingToDo, match="the champion stays"):
        steps.promote_model(LINE, "v", news="n" * 64)
    same = judged_key(verdict.run_key, _thresholds(installed))
    loosened = judged_key(verdict.run_key, _thresholds(installed, **{"AP50.sperm.at_least": 0.1}))
    assert finished_night(installed, LINE, same) is not None
    assert finished_night(installed, LINE, "n" * 64) is not None
    assert finished_night(installed, LINE, loosened) is None, "a loosened gate must be able to let a held model pass"


def test_a_dry_run_files_nothing(installed: Lake) -> None:
    verdict = _held(installed)
    with pytest.raises(NothingToDo, match="dry run"):
        steps.promote_model(LINE, "v", news="n" * 64, dry_run=True)
    assert finished_night(installed, LINE, judged_key(verdict.run_key, _thresholds(installed))) is None
    assert finished_night(installed, LINE, "n" * 64) is None
