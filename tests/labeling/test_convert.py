from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.labeling.convert import objects_digest, to_objects, to_regions

SIZES = st.integers(1, 8000)


def rectangle(**value: Any) -> dict[str, Any]:
    value = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["sperm"]} | value
    return {"type": "rectanglelabels", "original_width": 200, "original_height": 100, "value": value}


@given(st.data(), SIZES, SIZES)
def test_boxes_survive_the_round_trip(data: st.DataObject, width_px: int, height_px: int) -> None:
    side = st.floats(0, 8000, allow_nan=False)
    x, y, width, height = (round(data.draw(side), 6) for _ in range(4))
    box = {"label": "sperm", "x_px": x, "y_px": y, "width_px": width, "height_px": height}
    regions = to_regions("detection", [box], width_px, height_px, "m")
    (back,), faults = to_objects("detection", regions, width_px, height_px)
    assert faults == []
    assert all(math.isclose(back[key], box[key], rel_tol=0, abs_tol=1e-6) for key in ("x_px", "y_px"))
    assert all(math.isclose(back[key], box[key], rel_tol=0, abs_tol=1e-6) for key in ("width_px", "height_px"))
    assert objects_digest([back]) == objects_digest([box])


def test_percent_become_pixels() -> None:
    (box,), _ = to_objects("detection", [rectangle()], 200, 100)
    assert box == {"label": "sperm", "x_px": 20.0, "y_px": 20.0, "width_px": 60.0, "height_px": 40.0}


def test_a_rotated_rectangle_becomes_its_hull() -> None:
    # 60 x 40 px turned by 90 degrees about its top left corner (20, 20): it now lies to the left of it.
    (box,), faults = to_objects("detection", [rectangle(rotation=90)], 200, 100)
    assert faults == []
    assert box == {"label": "sperm", "x_px": -20.0, "y_px": 20.0, "width_px": 40.0, "height_px": 60.0}
    (diamond,), _ = to_objects("detection", [rectangle(rotation=45, width=10, height=20)], 200, 100)
    assert math.isclose(diamond["width_px"], 20 * math.sqrt(2), abs_tol=1e-6)


def test_labels_are_kept_as_they_are() -> None:
    regions = [rectangle(rectanglelabels=given) for given in ([], ["martian"], ["a", "b"])]
    objects, faults = to_objects("detection", regions, 200, 100)
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
        (rectangle() | {"value": None}, "of type"),
        ({"type": "brushlabels", "value": {}}, "'brushlabels'"),
    ],
)
def test_what_cannot_be_a_box_is_a_fault(region: dict[str, Any], reason: str) -> None:
    objects, faults = to_objects("detection", [region, rectangle()], 200, 100)
    assert len(objects) == 1
    assert reason in faults[0][1]


def test_outlines_and_choices_survive_too() -> None:
    outline = {"label": "head", "polygon_px": [[1.5, 2.0], [33.333333, 2.0], [10.0, 40.0]]}
    assert to_objects("segmentation", to_regions("segmentation", [outline], 70, 50, "m"), 70, 50) == ([outline], [])
    choice = {"label": "normal"}
    assert to_objects("classification", to_regions("classification", [choice], 70, 50, "m"), 70, 50) == ([choice], [])
