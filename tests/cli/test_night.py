"""How a night's end is told."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from tasks.cli import night
from tasks.cli.output import parse_changes


class Airflow:
    """The XComs of an ended run."""

    def __init__(self, outcomes: dict[str, dict[str, str]]) -> None:
        self.outcomes = outcomes

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        return self.outcomes.get(task_id)


def _step(name: str, state: str) -> dict[str, Any]:
    return {"name": name, "state": state, "seconds": 1.0}


def _outcome(steps: list[dict[str, Any]], outcomes: dict[str, Any], verdict: dict[str, Any], promotion: Any = None):
    return night._outcome(Airflow(outcomes), "d", "r", steps, verdict, promotion)  # type: ignore[arg-type]


def test_a_skipped_night_says_why() -> None:
    steps = [_step("ingest", "success"), _step("check_news", "skipped"), _step("train", "skipped")]
    assert _outcome(steps, {"check_news": {"state": "skipped", "reason": "nothing new"}}, {}) == (
        "skipped",
        "nothing new",
    )


def test_a_failed_step_wins_over_the_skipped_ones() -> None:
    steps = [_step("ingest", "failed"), _step("check_news", "upstream_failed")]
    assert _outcome(steps, {"ingest": {"state": "failed", "reason": "lake down"}}, {}) == ("failed", "lake down")


def test_a_line_with_too_little_data_is_not_just_failed() -> None:
    steps = [_step("freeze", "failed")]
    left = {"freeze": {"state": "insufficient_data", "reason": "needs 3 recordings"}}
    assert _outcome(steps, left, {})[0] == "insufficient_data"


@pytest.mark.parametrize(
    ("verdict", "state"),
    [("promote", "promoted"), ("hold", "held"), ("reject", "rejected"), ("insufficient_data", "insufficient_data")],
)
def test_a_verdict_is_the_nights_state(verdict, state) -> None:
    steps = [_step("decide", "success"), _step("promote_model", "success" if verdict == "promote" else "skipped")]
    assert _outcome(steps, {}, {"verdict": verdict, "reasons": ["a", "b"]}, promotion={"x": 1}) == (state, "a b")


def test_a_promotion_that_was_not_carried_out_is_a_hold_and_says_why() -> None:
    steps = [_step("decide", "success"), _step("promote_model", "skipped")]
    left = {"promote_model": {"state": "skipped", "reason": "ana said hold: too few donors"}}
    verdict = {"verdict": "promote", "reasons": ["better"]}
    assert _outcome(steps, left, verdict) == ("held", "ana said hold: too few donors")
    assert _outcome(steps, {}, verdict) == ("held", "better")
    assert _outcome([*steps[:1], _step("promote_model", "failed")], {}, verdict)[0] == "failed"


def test_a_night_by_other_gates_says_so_first() -> None:
    steps = [_step("decide", "success"), _step("promote_model", "success")]
    verdict = {"verdict": "promote", "reasons": ["all passed"]}
    said = _outcome(steps, {}, verdict, promotion={"differs": "This run's gates differ."})
    assert said == ("promoted", "This run's gates differ. all passed")


def test_a_note_is_text_whatever_yaml_would_make_of_it() -> None:
    assert night._parsed(["note=better: 5 = more", "override=true", "epochs=3"]) == {
        "override": True, "epochs": 3, "note": "better: 5 = more",
    }  # fmt: skip
    assert night._parsed(["note=5"]) == {"note": "5"}
    assert night._parsed(None) == {}


def test_a_night_that_waits_for_a_person_says_so_once(capsys) -> None:
    watch = night._Watch(["approve_promotion"], lambda task: f"please answer {task}")
    for state in ("running", "awaiting_input", "awaiting_input", "success"):
        watch.update({"approve_promotion": {"state": state}}, "")
    assert capsys.readouterr().err.count("please answer approve_promotion") == 1


def test_a_worker_that_died_without_a_word_is_still_reported() -> None:
    assert _outcome([_step("train", "failed")], {}, {}) == ("failed", "step train failed without a word")


def test_values_without_a_field_become_recipe_values() -> None:
    assert night._conf({"epochs": 3, "lr0": 0.1}, {"epochs", "recipe_values"}) == {
        "epochs": 3,
        "recipe_values": {"lr0": 0.1},
    }


def test_changes_are_yaml_scalars() -> None:
    assert parse_changes(["a=1", "b=true", "c=x=y", "d=0.5"]) == {"a": 1, "b": True, "c": "x=y", "d": 0.5}
    with pytest.raises(typer.BadParameter, match="nonsense"):
        parse_changes(["nonsense"])
