from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from tasks.config import Kind
from tasks.labeling.label_config import label_config, labels
from tests.labeling.annotators import a_line

LINE = a_line()


def test_classes_with_colours_and_hotkeys() -> None:
    root = ET.fromstring(label_config(LINE))
    control = root.find("RectangleLabels")
    assert control is not None
    assert [entry.attrib for entry in control] == [
        {"value": "sperm", "background": "#1f9d6b", "hotkey": "s"},
        {"value": "impurity", "background": "#c2571a", "hotkey": "i"},
    ]


def test_colours_are_made_up_where_the_line_names_none() -> None:
    root = ET.fromstring(label_config(a_line(classes=["sperm", "impurity"])))
    colours = [entry.attrib["background"] for entry in root.iter("Label")]
    assert len(set(colours)) == 2


@pytest.mark.parametrize(
    ("kind", "control", "tag"),
    [
        ("detection", "RectangleLabels", "Label"),
        ("segmentation", "PolygonLabels", "Label"),
        ("classification", "Choices", "Choice"),
    ],
)
def test_every_kind_of_line_has_its_control(kind: Kind, control: str, tag: str) -> None:
    root = ET.fromstring(label_config(LINE.model_copy(update={"kind": kind})))
    assert [entry.get("value") for entry in root.findall(f"{control}/{tag}")] == ["sperm", "impurity"]


def test_what_people_added_stays_while_the_classes_do() -> None:
    edited = label_config(LINE).replace("<View>", '<View><Header value="Mark every head."/>')
    assert label_config(LINE, edited, keep=True) == edited


def test_a_label_in_use_is_never_dropped() -> None:
    present = label_config(a_line(classes=["sperm", "impurity", "cell"]))
    assert labels(label_config(LINE, present, keep=True)) == ("sperm", "impurity", "cell")
    assert labels(label_config(LINE, present, keep=False)) == ("sperm", "impurity")
    kept = label_config(LINE, present, keep=True)
    assert label_config(LINE, kept, keep=True) == kept


def test_names_are_escaped() -> None:
    names = ['a "b" <c> & d', "é"]
    assert labels(label_config(a_line(classes=names, gates=[{"metric": "AP50", "at_least": 0.1}]))) == tuple(names)


def test_a_broken_config_is_replaced() -> None:
    assert labels(label_config(LINE, "<View>", keep=True)) == ("sperm", "impurity")
