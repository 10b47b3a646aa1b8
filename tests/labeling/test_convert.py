from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.kind import Kind
from tasks.labeling.convert import objects_digest, to_objects, to_regions, unread
from tasks.labeling.label_config import Questions
from tasks.schemas import MAX_OBJECTS, canonical_json
from tests.kinds.rooms import BRIGHTNESS, DETECTION

SIZES = st.integers(1, 8000)


def rectangle(**value: Any) -> dict[str, Any]:
    value = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["sperm"]} | value
    return {"type": "rectanglelabels", "original_width": 200, "original_height": 100, "value": value}


@given(st.data(), SIZES, SIZES)
def test_boxes_survive_the_round_trip(data: st.DataObject, width_px: int, height_px: int) -> None:
    side = st.floats(0, 8000, allow_nan=False)
    x, y, width, height = (round(data.draw(side), 6) for _ in range(4))
    box = {"label": "sperm", "x_px": x, "y_px": y, "width_px": width, "height_px": height}
    regions = to_regions(DETECTION, [box], width_px, height_px, "m")
    (back,), faults = to_objects(DETECTION, regions, width_px, height_px)
    assert faults == []
    assert all(math.isclose(back[key], box[key], rel_tol=0, abs_tol=1e-6) for key in ("x_px", "y_px"))
    assert all(math.isclose(back[key], box[key], rel_tol=0, abs_tol=1e-6) for key in ("width_px", "height_px"))
    assert objects_digest([back]) == objects_digest([box])


def test_percent_become_pixels() -> None:
    (box,), _ = to_objects(DETECTION, [rectangle()], 200, 100)
    assert box == {"label": "sperm", "x_px": 20.0, "y_px": 20.0, "width_px": 60.0, "height_px": 40.0}


def test_a_rotated_rectangle_becomes_its_hull() -> None:
    # 60 x 40 px turned by 90 degrees about its top left corner (20, 20): it now lies to the left of it.
    (box,), faults = to_objects(DETECTION, [rectangle(rotation=90)], 200, 100)
    assert faults == []
    assert box == {"label": "sperm", "x_px": -20.0, "y_px": 20.0, "width_px": 40.0, "height_px": 60.0}
    (diamond,), _ = to_objects(DETECTION, [rectangle(rotation=45, width=10, height=20)], 200, 100)
    assert math.isclose(diamond["width_px"], 20 * math.sqrt(2), abs_tol=1e-6)


def test_labels_are_kept_as_they_are() -> None:
    regions = [rectangle(rectanglelabels=given) for given in ([], ["martian"], ["a", "b"])]
    objects, faults = to_objects(DETECTION, regions, 200, 100)
    assert [each["label"] for each in objects] == ["", "martian", "a,b"]
    assert faults == []


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        (rectangle(x=None), "no number"),
        (rectangle(width=float("nan")), "no number"),
        (rectangle(width="12"), "no number"),
        (rectangle() | {"original_width": 400}, "400x100"),
        (rectangle() | {"image_rotation": 90}, "turned by 90"),
        (rectangle(x=True), "no number"),
        (rectangle(x=10**400), "no number"),
        (rectangle(x=-1e12), "far outside"),
        (rectangle(rotation=float("inf")), "no number"),
        (rectangle(rectanglelabels="sperm"), "not text"),
        (rectangle(rectanglelabels=[3]), "not text"),
        (rectangle() | {"image_rotation": "90"}, "turned by"),
        (rectangle() | {"image_rotation": -90}, "turned by -90"),
        (rectangle() | {"image_rotation": float("nan")}, "turned by nan"),
        (rectangle() | {"original_width": "200"}, "'200'x100"),
        (rectangle() | {"original_width": [[]]}, "listx100"),
        (rectangle() | {"value": None}, "of type"),
        (rectangle() | {"type": None}, "of type None"),
        (rectangle() | {"type": ["rectanglelabels"]}, "of type list"),
        ({}, "of type None"),
        ("sperm", "damaged: 'str'"),
        (None, "damaged: 'NoneType'"),
        ([[]], "damaged: 'list'"),
        ({"type": "brushlabels", "value": {}}, "'brushlabels'"),
    ],
)
def test_what_cannot_be_a_box_is_a_fault(region: dict[str, Any], reason: str) -> None:
    objects, faults = to_objects(DETECTION, [region, rectangle()], 200, 100)
    assert len(objects) == 1
    assert reason in faults[0][1]
    assert reason in str(unread(faults))
    assert unread([]) is None


def test_choices_survive_too() -> None:
    choice = {"label": "sharp"}
    regions = to_regions(BRIGHTNESS, [choice], 200, 100, "mark")
    assert to_objects(BRIGHTNESS, regions, 200, 100) == ([choice], [])


@pytest.mark.parametrize("result", [None, {}, "[]", 3])
def test_an_annotation_that_is_no_list_is_no_empty_frame(result: Any) -> None:
    objects, faults = to_objects(DETECTION, result, 200, 100)
    assert objects == []
    assert "instead of a list of regions" in str(unread(faults))


ASKED = Questions(
    own="label", others=frozenset({"zones", "quality"}), classes=frozenset({"sperm"}), aliases={"S": "sperm"}
)


@pytest.mark.parametrize(
    "answer",
    [
        {"type": "relation", "from_id": "a", "to_id": "b"},
        {"type": "choices", "from_name": "quality", "value": {"choices": ["sperm"]}},
        {"type": "textarea", "from_name": "a question that is gone", "value": {"text": ["note"]}},
        rectangle(rectanglelabels=["dirt"]) | {"from_name": "zones"},
        {"type": "ellipse", "from_name": "zones", "value": {}},
    ],
)
def test_answers_to_other_questions_are_passed_over(answer: dict[str, Any]) -> None:
    objects, faults = to_objects(DETECTION, [answer, rectangle() | {"from_name": "label"}], 200, 100, ASKED)
    assert (len(objects), faults) == (1, [])


def test_our_class_drawn_with_the_labs_control_is_a_fault() -> None:
    objects, faults = to_objects(DETECTION, [rectangle() | {"from_name": "zones"}], 200, 100, ASKED)
    assert objects == []
    assert "drawn with the control 'zones'" in faults[0][1]


def test_a_region_of_a_control_that_is_gone_is_judged_like_ours() -> None:
    gone = [rectangle() | {"from_name": "old"}, {"type": "brushlabels", "from_name": "old", "value": {}}]
    objects, faults = to_objects(DETECTION, gone, 200, 100, ASKED)
    assert (len(objects), len(faults)) == (1, 1)


def test_what_a_label_is_called_besides() -> None:
    (box,), _ = to_objects(DETECTION, [rectangle(rectanglelabels=["S"])], 200, 100, ASKED)
    assert box["label"] == "sperm"


def test_another_choice_is_not_the_class_of_a_picture() -> None:
    other = {"type": "choices", "from_name": "quality", "value": {"choices": ["sharp"]}}
    assert to_objects(DETECTION, [other], 70, 50, ASKED) == ([], [])


def test_more_objects_than_anybody_draws_are_one_fault() -> None:
    objects, faults = to_objects(DETECTION, [rectangle()] * (MAX_OBJECTS + 1), 200, 100)
    assert objects == []
    assert f"more than {MAX_OBJECTS}" in str(unread(faults))


def test_reasons_stay_short_and_fit_to_show() -> None:
    bad = [rectangle(x="\x1b[31m" * 500) | {"id": "\u202e" + "x" * 500}] * 1000
    _, faults = to_objects(DETECTION, bad, 200, 100)
    told = str(unread(faults))
    assert len(told) < 700
    assert told.endswith("and 997 more")
    assert told.isprintable()


def test_labels_that_cannot_be_stored_become_labels_that_can() -> None:
    (box,), faults = to_objects(DETECTION, [rectangle(rectanglelabels=["sp\ud800erm\x00"])], 200, 100)
    assert (box["label"], faults) == ("sp\ufffderm\ufffd", [])
    box["label"].encode()


DAMAGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = ["id", "type", "from_name", "value", "original_width", "original_height", "image_rotation"]
PLACES = ["x", "y", "width", "height", "rotation", "rectanglelabels", "points", "polygonlabels", "choices"]


@given(st.data(), st.sampled_from([DETECTION, BRIGHTNESS]))
def test_no_damage_raises(data: st.DataObject, kind: Kind) -> None:
    kinds = st.sampled_from(["rectanglelabels", "polygonlabels", "choices", "relation"])
    region = data.draw(st.dictionaries(st.sampled_from(NAMES), DAMAGE)) | {"type": data.draw(kinds | DAMAGE)}
    if data.draw(st.booleans()):
        region["value"] = data.draw(st.dictionaries(st.sampled_from(PLACES), DAMAGE))
    objects, faults = to_objects(kind, [region, data.draw(DAMAGE)], 200, 100, ASKED)
    assert faults
    canonical_json(objects).encode()
    assert "Infinity" not in canonical_json(objects)
    assert str(unread(faults)).isprintable()
