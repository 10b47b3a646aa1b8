"""The trigger form says in words what each gate asks for, and hands back only what was changed."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from nightscope_airflow import params
from nightscope_airflow.params import changes, form, note_of
from nightscope_airflow.words import gate_title

from tasks.config import Gate, Line, parse_line
from tasks.errors import ConfigError

GATES: tuple[dict[str, Any], ...] = (
    {"metric": "AP50", "class": "sperm", "at_least": 0.6},
    {"metric": "AP50_95", "slice": "size.small", "not_worse_by": 0.02},
    {"metric": "AP50_95", "for_each": ["class", "size.large"], "not_worse_by": 0.03, "confidence": 0.9},
    {"metric": "AP50_95", "better_by": 0.005},
    {"metric": "model_size_mb", "at_most": 20, "device": "cpu"},
)


def a_line() -> Line:
    return parse_line(
        {
            "line": "sperm-detector",
            "kind": "detection",
            "classes": ["sperm"],
            "recipe": {"name": "any"},
            "gates": GATES,
        },
        "test",
    )


def test_every_condition_is_a_field_that_explains_itself() -> None:
    fields = form(a_line(), ["any"])
    said = {name: param.description for name, param in fields.items() if name.startswith("gate.")}
    assert said == {
        "gate.AP50.sperm.at_least": "AP50 of class 'sperm' must be at least this. The line's file says 0.6.",
        "gate.AP50_95.size.small.not_worse_by": "AP50_95 of size 'small' may be worse than the champion's by at most "
        "this, with 95% confidence. The line's file says 0.02.",
        "gate.AP50_95.each-class-size.large.not_worse_by": "AP50_95 in each class and size.large may be worse than the "
        "champion's by at most this, with 90% confidence. The line's file says 0.03.",
        "gate.AP50_95.better_by": "AP50_95 must be better than the champion's by more than this, with 95% confidence. "
        "The line's file says 0.005.",
        "gate.model_size_mb.at_most": "model_size_mb on cpu must be at most this. The line's file says 20.",
    }


def test_every_gate_has_a_title_in_an_operators_words() -> None:
    fields = form(a_line(), ["any"])
    assert [param.schema["title"] for name, param in fields.items() if name.startswith("gate.")] == [
        "Sperm found and placed well enough (AP50), at least",
        "Small objects found and placed exactly (AP50-95), worse than the champion by at most",
        "Each class and large objects found and placed exactly (AP50-95), worse than the champion by at most",
        "All objects found and placed exactly (AP50-95), better than the champion by more than",
        "Size of the model (MB) on cpu, at most",
    ]


def test_a_metric_without_words_is_called_by_its_name() -> None:
    gate = Gate.model_validate({"metric": "HOTA_alpha", "class": "sperm", "at_least": 0.5})
    assert gate_title(gate) == "Sperm: HOTA alpha, at least"


def test_every_field_may_be_emptied() -> None:
    line = a_line()
    empty = dict.fromkeys(form(line, ["any"]))
    assert changes(empty, line) == {} and note_of(empty) == ""
    for name, param in form(line, ["any"]).items():
        assert "null" in param.schema["type"], name


@pytest.mark.parametrize("note", [None, "", "  "])
def test_an_override_without_a_reason_is_refused(monkeypatch, note) -> None:
    class Dag:
        params = form(a_line(), ["any"])

    class Run:
        conf: ClassVar = {}

    said = {name: param.value for name, param in Dag.params.items()} | {"override": True, "note": note}
    monkeypatch.setattr(params, "get_current_context", lambda: {"dag": Dag, "dag_run": Run, "params": said})
    with pytest.raises(ConfigError, match="Override is on, and Note is empty"):
        params.check_form()
    said["note"] = "I looked at it"
    params.check_form()


def test_a_changed_gate_changes_the_line() -> None:
    line = a_line()
    said = {name: param.value for name, param in form(line, ["any"]).items()}
    assert changes(said, line) == {}
    assert changes({**said, "override": True, "note": "why", "force": True}, line) == {}, "these are the run's"
    changed = changes({**said, "gate.AP50_95.each-class-size.large.not_worse_by": 0.05}, line)
    assert [gate.threshold for gate in line.with_changes(changed).gates] == [0.6, 0.02, 0.05, 0.005, 20]


def test_stages_of_a_training_are_values_of_the_recipe() -> None:
    stages = [{"epochs": 2, "imgsz": 320}, {"epochs": 3}]
    filled = {name: field.value for name, field in form(a_line(), ["any"]).items()}
    wanted = changes({**filled, "recipe_values": {"stages": stages, "augmentation": "heavy"}}, a_line())
    assert wanted == {"stages": stages, "augmentation": "heavy"}
    assert a_line().with_changes(wanted).recipe.changes == wanted
