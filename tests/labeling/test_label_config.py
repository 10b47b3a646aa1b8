from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from tasks.errors import ConfigError
from tasks.kind import Kind
from tasks.labeling.label_config import Shown, label_config, labels, questions, wanted_labels
from tests.kinds.rooms import BRIGHTNESS, DETECTION
from tests.labeling.annotators import a_line

LINE = a_line()


def test_classes_with_colours_and_hotkeys() -> None:
    root = ET.fromstring(label_config(LINE, kind=DETECTION))
    control = root.find("RectangleLabels")
    assert control is not None
    assert [entry.attrib for entry in control] == [
        {"value": "sperm", "background": "#1f9d6b", "hotkey": "s"},
        {"value": "impurity", "background": "#c2571a", "hotkey": "i"},
    ]


def test_colours_are_made_up_where_the_line_names_none() -> None:
    root = ET.fromstring(label_config(a_line(classes=["sperm", "impurity"]), kind=DETECTION))
    colours = [entry.attrib["background"] for entry in root.iter("Label")]
    assert len(set(colours)) == 2


def test_a_line_that_changed_its_kind_before_anybody_answered_gets_the_other_control() -> None:
    root = ET.fromstring(label_config(LINE, label_config(LINE, kind=BRIGHTNESS), kind=DETECTION))
    assert not root.findall("Choices") and len(root.findall("RectangleLabels/Label")) == 2


@pytest.mark.parametrize(
    ("kind", "control", "tag"), [(DETECTION, "RectangleLabels", "Label"), (BRIGHTNESS, "Choices", "Choice")]
)
def test_every_kind_of_line_has_its_control(kind: Kind, control: str, tag: str) -> None:
    root = ET.fromstring(label_config(LINE, kind=kind))
    assert [entry.get("value") for entry in root.findall(f"{control}/{tag}")] == ["sperm", "impurity"]


def test_what_people_added_stays_while_the_classes_do() -> None:
    edited = label_config(LINE, kind=DETECTION).replace("<View>", '<View><Header value="Mark every head."/>')
    assert label_config(LINE, edited, keep=True, kind=DETECTION) == edited


def test_a_label_in_use_is_never_dropped() -> None:
    present = label_config(a_line(classes=["sperm", "impurity", "cell"]), kind=DETECTION)
    assert labels(label_config(LINE, present, keep=True, kind=DETECTION), DETECTION) == ("sperm", "impurity", "cell")
    assert labels(label_config(LINE, present, keep=False, kind=DETECTION), DETECTION) == ("sperm", "impurity")
    kept = label_config(LINE, present, keep=True, kind=DETECTION)
    assert label_config(LINE, kept, keep=True, kind=DETECTION) == kept


def test_names_are_escaped() -> None:
    names = ['a "b" <c> & d', "é"]
    assert labels(
        label_config(a_line(classes=names, gates=[{"metric": "AP50", "at_least": 0.1}]), kind=DETECTION), DETECTION
    ) == tuple(names)


def test_a_broken_config_is_replaced() -> None:
    assert labels(label_config(LINE, "<View>", keep=True, kind=DETECTION), DETECTION) == ("sperm", "impurity")


EXTRA = """<View><!-- the lab's -->
  <Header value="Ring every head"/>
  <Image name="picture" value="$image" zoom="true"/>
  <RectangleLabels name="label" toName="picture" strokeWidth="5">
    <Label value="sperm" background="#1f9d6b" hotkey="x" alias="S1"/>
    <Label value="impurity" background="#c2571a" hotkey="i"/>
  </RectangleLabels>
  <RectangleLabels name="zones" toName="picture"><Label value="blurred"/></RectangleLabels>
  <Choices name="quality" toName="picture"><Choice value="sharp"/><Choice value="sperm"/></Choices>
</View>"""


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("shown", [None, wanted_labels(LINE)])
def test_a_labs_config_that_offers_the_classes_is_left_as_it_is(keep: bool, shown: Shown | None) -> None:
    assert label_config(LINE, EXTRA, keep=keep, shown=shown, kind=DETECTION) == EXTRA


@pytest.mark.parametrize("keep", [True, False])
def test_only_our_labels_change_with_the_classes(keep: bool) -> None:
    changed = a_line(
        classes={"sperm": {"hotkey": "s"}, "cell": {"hotkey": "c"}}, gates=[{"metric": "AP50", "at_least": 0.1}]
    )
    edited = label_config(changed, EXTRA, keep=keep, shown=wanted_labels(LINE), kind=DETECTION)
    assert labels(edited, DETECTION) == (("sperm", "cell", "impurity") if keep else ("sperm", "cell"))
    assert label_config(changed, edited, keep=keep, shown=wanted_labels(changed), kind=DETECTION) == edited
    root, before = ET.fromstring(edited), ET.fromstring(EXTRA)
    assert "<!-- the lab's -->" in edited
    for tag in ("Header", "Image", "Choices", "RectangleLabels[2]"):
        ours, theirs = root.find(tag), before.find(tag)
        assert ours is not None and theirs is not None
        assert ET.tostring(ours).split() == ET.tostring(theirs).split()
    control = root.find("RectangleLabels")
    assert control is not None
    assert (control.get("toName"), control.get("strokeWidth")) == ("picture", "5")
    assert control[0].attrib == {"value": "sperm", "background": "#1f9d6b", "hotkey": "x", "alias": "S1"}


def test_the_labs_colour_stays_and_the_lines_new_one_is_shown_where_the_lab_chose_none() -> None:
    blue = a_line(classes={"sperm": {"color": "#0000ff", "hotkey": "q"}, "impurity": {"color": "#00ffff"}})
    shown = wanted_labels(LINE)
    present = label_config(LINE, kind=DETECTION).replace("#c2571a", "#ffff00")
    edited = {
        each.get("value"): each.attrib
        for each in ET.fromstring(label_config(blue, present, shown=shown, kind=DETECTION)).iter("Label")
    }
    assert edited["sperm"] == {"value": "sperm", "background": "#0000ff", "hotkey": "q"}
    assert edited["impurity"] == {"value": "impurity", "background": "#ffff00"}


def test_a_class_that_comes_back_is_coloured_again() -> None:
    without = a_line(classes=["sperm"])
    greyed = label_config(without, label_config(LINE, kind=DETECTION), keep=True, kind=DETECTION)
    back = label_config(LINE, greyed, keep=True, shown=wanted_labels(without), kind=DETECTION)
    assert ET.fromstring(back).findall(".//Label")[1].attrib == {
        "value": "impurity",
        "background": "#c2571a",
        "hotkey": "i",
    }


def test_a_config_without_our_control_gains_it_and_loses_nothing() -> None:
    lab = """<View><Image name="image" value="$image"/>
      <Choices name="label" toName="image"><Choice value="a"/></Choices></View>"""
    root = ET.fromstring(label_config(LINE, lab, keep=True, kind=DETECTION))
    control = root.find("RectangleLabels")
    assert control is not None
    assert (control.get("name"), control.get("toName")) == ("label-2", "image")
    assert [each.get("value") for each in root.iter("Choice")] == ["a"]
    assert len(root.findall("Image")) == 1
    grown = label_config(LINE, lab, keep=True, kind=DETECTION)
    assert label_config(LINE, grown, keep=True, kind=DETECTION) == grown
    assert questions(grown, LINE, DETECTION).own == "label-2"


def test_a_config_that_expands_is_not_touched() -> None:
    bomb = '<!DOCTYPE v [<!ENTITY a "aaaa">]><View>&a;</View>'
    with pytest.raises(ConfigError, match="document type"):
        label_config(LINE, bomb, keep=True, kind=DETECTION)


def test_whose_question_is_whose() -> None:
    asked = questions(EXTRA, LINE, DETECTION)
    assert asked.own == "label"
    assert asked.others == {"zones", "quality"}
    assert asked.aliases == {"S1": "sperm"}
    assert asked.classes == {"sperm", "impurity", "S"}
