"""Choices in Label Studio ⇄ objects: one class, several labels, and values that are missing."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import ConfigError
from tasks.kind import Object
from tasks.kinds.classification.labels import NONE, unjudged
from tasks.labeling.convert import to_objects, to_regions
from tasks.labeling.label_config import label_config, wanted_labels
from tests.kinds.classification.lines import CLASSIFICATION, a_line, a_multi_label_line

ONE, MANY = a_line(), a_multi_label_line()


def choices(*ticked: str) -> dict[str, Any]:
    return {"type": "choices", "from_name": "label", "to_name": "image", "value": {"choices": list(ticked)}}


def read(line: Any, *ticked: str) -> tuple[list[Object], list[str]]:
    objects, faults = to_objects(CLASSIFICATION, [choices(*ticked)] if ticked else [], 64, 64, line=line)
    return objects, [reason for _, reason in faults]


def test_the_config_has_a_choice_with_its_hotkey_for_each_class() -> None:
    (control,) = ET.fromstring(label_config(ONE, kind=CLASSIFICATION)).iter("Choices")
    assert (control.get("choice"), control.get("required")) == ("single", "true")
    assert [(each.get("value"), each.get("hotkey")) for each in control] == [
        ("normal", "n"), ("abnormal", "a"), ("non_sperm", "x"),
    ]  # fmt: skip


def test_several_labels_have_an_answer_for_none_and_for_each_that_nobody_judged() -> None:
    config = label_config(MANY, kind=CLASSIFICATION)
    (control,) = ET.fromstring(config).iter("Choices")
    assert control.get("choice") == "multiple"
    assert [each.get("value") for each in control] == [
        "acrosome", "head", "vacuole", NONE, "acrosome: not judged", "head: not judged", "vacuole: not judged",
    ]  # fmt: skip
    assert label_config(MANY, config, kind=CLASSIFICATION, keep=True, shown=wanted_labels(MANY)) == config


def test_a_line_that_gets_several_labels_changes_its_control_and_keeps_the_labs_own_things() -> None:
    before = a_line(classes=["acrosome", "head", "vacuole"])
    edited = label_config(before, kind=CLASSIFICATION).replace("<View>", '<View><Header value="Look twice."/>')
    root = ET.fromstring(label_config(MANY, edited, kind=CLASSIFICATION, keep=True))
    (control,) = root.iter("Choices")
    assert control.get("choice") == "multiple" and len(list(control)) == 7
    assert [each.get("value") for each in root.iter("Header")] == ["Look twice."]


def test_a_class_cannot_be_called_like_another_answer() -> None:
    with pytest.raises(ConfigError, match="none of these"):
        label_config(a_multi_label_line(classes=["head", NONE]), kind=CLASSIFICATION)


def test_one_class_is_one_object() -> None:
    assert read(ONE, "abnormal") == ([{"label": "abnormal"}], [])
    assert read(ONE) == ([], [])  # validation misses the class
    assert read(ONE, "normal", "abnormal") == ([{"label": "normal"}, {"label": "abnormal"}], [])


def test_what_is_not_ticked_is_not_there_and_what_nobody_judged_is_missing() -> None:
    objects, _ = read(MANY, "head", unjudged("vacuole"))
    assert objects == [{"label": "acrosome", "present": False}, {"label": "head", "present": True}]
    nothing = [{"label": name, "present": False} for name in MANY.classes]
    assert read(MANY, NONE) == read(MANY) == (nothing, [])


@pytest.mark.parametrize(
    ("ticked", "reason"),
    [
        (("head", NONE), "says both 'none of these' and 'head'"),
        (("head", unjudged("head")), "says both 'head' and 'head: not judged'"),
    ],
)
def test_answers_that_contradict_each_other_cannot_be_read(ticked: tuple[str, ...], reason: str) -> None:
    assert read(MANY, *ticked)[1] == [reason]


def test_classes_that_the_line_gave_up_are_seen_by_validation_and_their_other_answer_is_nothing() -> None:
    objects, faults = read(MANY, "head", "tail", unjudged("neck"))
    assert not faults and {"label": "tail", "present": True} in objects
    assert {each["label"] for each in objects} == {*MANY.classes, "tail"}


@given(st.dictionaries(st.sampled_from(list(MANY.classes)), st.booleans(), min_size=1))
def test_every_row_of_a_table_comes_back_from_label_studio(said: dict[str, bool]) -> None:
    objects = [{"label": name, "present": said[name]} for name in MANY.classes if name in said]
    regions = to_regions(CLASSIFICATION, objects, 64, 64, "m", line=MANY)
    assert len(regions) == 1 and regions[0]["id"] == "m.0", "an import is recognised by its region"
    assert to_objects(CLASSIFICATION, regions, 64, 64, line=MANY) == (objects, [])


@pytest.mark.parametrize("value", [None, "normal", [1], {"a": 1}])
def test_damaged_choices_are_faults(value: Any) -> None:
    region = choices() | {"value": {"choices": value}}
    _, faults = to_objects(CLASSIFICATION, [region], 64, 64, line=ONE)
    assert len(faults) == 1
