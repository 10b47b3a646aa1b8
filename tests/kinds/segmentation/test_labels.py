"""Masks in Label Studio: exact to the pixel both ways, and what cannot be read is refused in words."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from label_studio_sdk.converter.brush import decode_rle, encode_rle, mask2rle
from skimage.draw import polygon2mask

from tasks.kinds.segmentation import brush, labels, outlines
from tasks.kinds.segmentation.objects import mask_object
from tasks.kinds.segmentation.runs import crop_of_text, text_of_crop, texts_of_label_image
from tasks.labeling.convert import objects_digest, to_objects, to_regions, unread
from tasks.labeling.label_config import label_config, questions
from tasks.metrics import masks
from tests.kinds.rooms import DETECTION
from tests.kinds.segmentation.labelled import MASKS, SEGMENTATION, cell_line, square

WIDTH_PX, HEIGHT_PX = 64, 48
TRIANGLE = [[10.0, 10.0], [60.0, 10.0], [10.0, 80.0]]


def drawn(kind: str, **value: Any) -> dict[str, Any]:
    return {"type": kind, "original_width": WIDTH_PX, "original_height": HEIGHT_PX, "value": {kind: ["cell"], **value}}


def polygon(points: Any, **value: Any) -> dict[str, Any]:
    return drawn("polygonlabels", points=points, closed=True, **value)


def box(**value: Any) -> dict[str, Any]:
    return drawn("rectanglelabels", **{"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0} | value)


def stroke(rle: Any, **value: Any) -> dict[str, Any]:
    return drawn("brushlabels", format="rle", rle=rle, **value)


def read(region: dict[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
    objects, faults = to_objects(SEGMENTATION, [region], WIDTH_PX, HEIGHT_PX, line=cell_line())
    return objects, unread(faults)


@given(MASKS)
def test_a_mask_survives_the_round_trip(mask: np.ndarray) -> None:
    objects = [mask_object("cell", mask)] if mask.any() else []
    height, width = mask.shape
    regions = to_regions(SEGMENTATION, objects, width, height, "m", line=cell_line())
    back, faults = to_objects(SEGMENTATION, regions, width, height, line=cell_line())
    assert (back, faults) == (objects, [])
    assert objects_digest(back) == objects_digest(objects)


@given(MASKS)
def test_what_we_write_label_studios_own_library_reads_and_the_other_way_round(mask: np.ndarray) -> None:
    height, width = mask.shape
    text = masks.encode(mask)
    ours = brush.encode(text, width, height)
    assert (decode_rle(ours).reshape(height, width, 4) == mask[..., None] * 255).all()
    for value in (255, 1):  # what converters write for a covered pixel
        theirs = mask2rle((mask * value).astype(np.uint8))
        assert text_of_crop(brush.decode(theirs, width, height), height, width) == text


@given(arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(4))))
def test_colours_do_not_count_and_half_covered_pixels_do(picture: np.ndarray) -> None:
    picture[0, 0, 3] = 255
    height, width = picture.shape[:2]
    crop = brush.decode(encode_rle(picture.ravel()), width, height)
    assert text_of_crop(crop, height, width) == masks.encode(picture[..., 3] >= 128)


def test_runs_longer_than_a_packet_and_large_pictures() -> None:
    mask = np.zeros((700, 900), dtype=np.bool_)  # 2.5 million values: 39 packets of nothing alone
    mask[650:, 3:] = True
    text = masks.encode(mask)
    ours = brush.encode(text, 900, 700)
    assert len(ours) < 5000
    assert text_of_crop(brush.decode(ours, 900, 700), 700, 900) == text
    assert (decode_rle(ours).reshape(700, 900, 4)[..., 3] == mask * 255).all()


@given(arrays(np.uint16, st.tuples(st.integers(1, 30), st.integers(1, 30)), elements=st.integers(0, 6)))
def test_label_images_become_masks(picture: np.ndarray) -> None:
    expected = {int(i): masks.encode(picture == i) for i in np.unique(picture) if i}
    assert texts_of_label_image(picture) == expected
    for text in expected.values():
        crop = crop_of_text(text, picture.shape[0])
        assert text_of_crop(crop, *picture.shape) == text


@given(st.data(), st.lists(st.tuples(st.integers(-20, 84), st.integers(-20, 68)), min_size=3, max_size=9))
def test_a_polygon_covers_the_pixels_whose_centres_lie_inside(data: st.DataObject, corners: list[Any]) -> None:
    offset = data.draw(st.sampled_from([0.11, 0.27, 0.39]))  # so that no centre lies on an edge
    points = np.array(corners, dtype=np.float64) * 1.017 + offset
    crop = outlines.filled(points, WIDTH_PX, HEIGHT_PX)
    whole = np.zeros((HEIGHT_PX, WIDTH_PX), dtype=np.bool_)
    whole[crop.top :, crop.left :][: crop.pixels.shape[0], : crop.pixels.shape[1]] = crop.pixels
    assert (whole == even_odd(points)).all()


def even_odd(points: np.ndarray) -> np.ndarray:
    """The rule itself, pixel by pixel."""
    inside = np.zeros((HEIGHT_PX, WIDTH_PX), dtype=np.bool_)
    y, x = np.mgrid[:HEIGHT_PX, :WIDTH_PX] + 0.5
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y1 != y2:
            inside ^= ((y1 <= y) != (y2 <= y)) & (x1 + (y - y1) / (y2 - y1) * (x2 - x1) <= x)
    return inside


def test_a_polygon_of_whole_pixels_is_those_pixels_and_neighbours_share_none() -> None:
    left, right = ([[x1, 10.0], [x2, 10.0], [x2, 30.0], [x1, 30.0]] for x1, x2 in ((4, 16.5), (16.5, 20)))
    one, two = (outlines.filled(np.array(each), WIDTH_PX, HEIGHT_PX) for each in (left, right))
    assert one.pixels.sum() + two.pixels.sum() == 16 * 20
    circle = np.array([(32 + 20 * np.cos(a), 24 + 20 * np.sin(a)) for a in np.linspace(0, 6.2, 40)])
    crop = outlines.filled(circle, WIDTH_PX, HEIGHT_PX)
    assert crop.pixels.sum() == polygon2mask((HEIGHT_PX, WIDTH_PX), circle[:, ::-1] - 0.5).sum()


def test_a_polygon_becomes_a_mask_in_pixels_of_the_frame() -> None:
    (item,), reason = read(polygon([[25, 25], [75, 25], [75, 75], [25, 75]]))
    assert reason is None
    assert item == mask_object("cell", square(0, 0, 0) | _rectangle(12, 36, 16, 48))


def _rectangle(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros((HEIGHT_PX, WIDTH_PX), dtype=np.bool_)
    mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize(
    ("points", "crosses"),
    [
        ([[10, 10], [60, 60], [60, 10], [10, 60]], True),
        (TRIANGLE, False),
        ([[10, 10], [50, 10], [50, 50], [30, 50], [30, 70], [30, 50], [10, 50]], False),  # a spur, as contours have
        ([[10, 10], [30, 30], [50, 10], [50, 50], [30, 30], [10, 50]], False),  # touches itself in a point
    ],
)
def test_a_polygon_that_crosses_itself_is_marked(points: list[list[float]], crosses: bool) -> None:
    (item,), _ = read(polygon(points))
    assert item.get("crosses_itself", False) is crosses


def test_a_box_is_left_for_the_model_and_comes_back_as_a_box() -> None:
    (item,), reason = read(box())
    assert reason is None
    assert item == {"label": "cell", "x_px": 6.4, "y_px": 9.6, "width_px": 19.2, "height_px": 19.2, "to_fill": True}
    regions = to_regions(SEGMENTATION, [item, item | {"crowd": True}], WIDTH_PX, HEIGHT_PX, "m")
    assert [each["from_name"] for each in regions] == ["label_rectanglelabels"] * 2
    back, faults = to_objects(SEGMENTATION, regions, WIDTH_PX, HEIGHT_PX)
    assert (back, faults) == ([item, item | {"crowd": True}], [])


GOOD = brush.encode(masks.encode(square(3, 4, 9)), WIDTH_PX, HEIGHT_PX)


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        (stroke(brush.encode(masks.encode(square(0, 0, 0)), WIDTH_PX, HEIGHT_PX)), "covers no pixel"),
        (stroke(GOOD[:-3]), "cut off"),
        (stroke(GOOD[:4]), "cut off"),
        (stroke([]), "cut off"),
        (stroke([255, 255, 255, 255, *GOOD[4:]]), "painted on a picture of 1073741823.75 pixels, not 64 x 48"),
        (stroke([*GOOD[:4], GOOD[4] | 0b11111000, *GOOD[5:]]), "values of 32 bits"),
        (stroke(None), "no run lengths"),
        (stroke(10**9), "no run lengths"),
        (stroke("AAAA"), "no run lengths"),
        (stroke([1, 2.5]), "not bytes"),
        (stroke([300] * 20), "not bytes"),
        (drawn("brushlabels", format="png", rle=GOOD), "not stored as run lengths"),
        (stroke(GOOD) | {"image_rotation": 90}, "turned by 90 degrees"),
        (stroke(GOOD) | {"original_width": 65}, "an image of 65x48 px"),
        (polygon([[10, 10], [20, 20]]), "a polygon of 2 points"),
        (polygon([[10, 10], [20, "20"], [5, 5]]), "a place that is no number"),
        (polygon([[10, 10], [20, float("nan")], [5, 5]]), "a place that is no number"),
        (polygon([[10, 10], [20, 10**400], [5, 5]]), "a place that is no number"),
        (polygon([[10, 10], [20], [5, 5]]), "a polygon without points"),
        (polygon("abc"), "a polygon without points"),
        (polygon([[10, 10], [10.1, 10], [10, 10.1]]), "covers the centre of no pixel"),
        (polygon([[110, 10], [180, 10], [110, 90]]), "covers the centre of no pixel"),
        (polygon([[1e8, 10], [2e8, -1e8], [1e8, 9e8]]), "covers the centre of no pixel"),
        (drawn("polygonlabels", points=TRIANGLE, closed=False), "not closed"),
        (box(rotation=12), "turned by 12 degrees"),
        (box(width=0), "without an area"),
        (box(height=-4), "without an area"),
        (box(x=101), "outside of the picture"),
        (box(y=None), "a place that is no number"),
        ({"type": "brushlabels"}, "without a place"),
        ({"type": "ellipselabels", "value": {}}, "is of type 'ellipselabels'"),
    ],
)
def test_what_cannot_be_read_is_refused(region: dict[str, Any], reason: str) -> None:
    objects, said = read(region)
    assert objects == []
    assert reason in str(said)


@given(st.binary(max_size=40), st.booleans())
def test_any_bytes_are_read_or_refused(data: bytes, headed: bool) -> None:
    objects, said = read(stroke([*(GOOD[:7] if headed else []), *data]))
    assert bool(objects) != bool(said)


def test_the_project_offers_all_three_controls() -> None:
    line = cell_line(classes={"cell": {"hotkey": "c"}, "debris": {"hotkey": "d"}})
    config = label_config(line, kind=SEGMENTATION)
    root = ET.fromstring(config)
    controls = [each for each in root.iter() if each.get("toName")]
    assert [(each.tag, each.get("name")) for each in controls] == [
        ("BrushLabels", "label"),
        ("PolygonLabels", "label_polygonlabels"),
        ("RectangleLabels", "label_rectanglelabels"),
    ]
    offered = [[(entry.get("value"), entry.get("hotkey")) for entry in each] for each in controls]
    assert offered == [[("cell", "c"), ("debris", "d")], *[[("cell", None), ("debris", None)]] * 2]
    assert label_config(line, config, kind=SEGMENTATION, keep=True) == config
    asked = questions(config, line, SEGMENTATION)
    assert (asked.own, asked.others) == ("label", frozenset())
    assert asked.further == {"label_polygonlabels", "label_rectanglelabels"}


def test_what_is_drawn_with_any_of_them_is_the_lines() -> None:
    line = cell_line()
    asked = questions(label_config(line, kind=SEGMENTATION), line, SEGMENTATION)
    regions = [
        stroke(GOOD) | {"from_name": "label"},
        polygon(TRIANGLE) | {"from_name": "label_polygonlabels"},
        box() | {"from_name": "label_rectanglelabels"},
    ]
    objects, faults = to_objects(SEGMENTATION, regions, WIDTH_PX, HEIGHT_PX, asked, line=line)
    assert (len(objects), faults) == (3, [])


def test_the_controls_follow_the_classes_and_the_labs_own_stay() -> None:
    line, more = cell_line("cell"), cell_line("cell", "debris")
    config = label_config(line, kind=SEGMENTATION).replace(
        "</View>\n</View>",
        '</View><Choices name="label_quality" toName="image"><Choice value="sharp"/></Choices></View>',
    )
    grown = ET.fromstring(label_config(more, config, kind=SEGMENTATION, keep=True))
    assert [len(each) for each in grown.iter() if each.get("toName")] == [2, 2, 2, 1]
    shrunk = ET.fromstring(label_config(line, ET.tostring(grown, encoding="unicode"), kind=SEGMENTATION))
    assert [len(each) for each in shrunk.iter() if each.get("toName")] == [1, 1, 1, 1]


def test_a_line_that_changed_its_kind_before_anybody_answered_gets_the_other_controls_alone() -> None:
    line = cell_line()
    boxes = label_config(line, label_config(line, kind=SEGMENTATION), kind=DETECTION)
    assert [each.tag for each in ET.fromstring(boxes).iter()] == ["View", "Image", "RectangleLabels", "Label"]
    masks_again = label_config(line, boxes, kind=SEGMENTATION)
    assert [each.tag for each in ET.fromstring(masks_again).iter() if each.get("toName")] == [
        "BrushLabels", "PolygonLabels", "RectangleLabels",
    ]  # fmt: skip


def test_a_damaged_stroke_of_a_large_picture_costs_nothing() -> None:
    claims = (2000 * 2000 * 4).to_bytes(4, "big")
    with pytest.raises(ValueError, match="cut off"):
        brush.decode([*claims, *GOOD[4:]], 2000, 2000)


def test_regions_are_named_by_their_controls() -> None:
    (region,) = to_regions(SEGMENTATION, [mask_object("cell", square(3, 4, 9))], WIDTH_PX, HEIGHT_PX, "m")
    assert (region["from_name"], region["to_name"], region["type"]) == ("label", "image", "brushlabels")
    assert region["value"]["rle"] == GOOD
    assert labels.CONTROL.tag == "BrushLabels"
