"""COCO files as labs and their tools write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.config import HOME, Line, load_line
from tasks.kind import BadFile, LabelFile, Misplaced
from tasks.kinds.detection.files import classes_in, place
from tasks.kinds.detection.formats import coco
from tasks.kinds.detection.formats.records import ForeignBox
from tasks.metrics import masks
from tasks.schemas import Frame, now

IMAGES = [{"id": 101, "file_name": "scans/E01/E01_0001.png"}, {"id": 205, "file_name": "scans/E01/E01_0002.png"}]
CATEGORIES = [{"id": 4, "name": "Head"}]


@pytest.fixture(scope="module")
def line() -> Line:
    return load_line("fetal-ultrasound", HOME / "dags" / "lines")


def read(folder: Path, annotations: list[dict[str, Any]], **changes: Any) -> dict[str, LabelFile | BadFile]:
    """What a file says, by image."""
    content = {"images": IMAGES, "categories": CATEGORIES, "annotations": annotations} | changes
    (folder / "_annotations.coco.json").write_text(json.dumps(content))
    return {str(each.image): each for each in coco.read(folder)}


def box(n: int = 1, **more: Any) -> dict[str, Any]:
    return {"id": n, "image_id": 101, "category_id": 4, "bbox": [10, 20, 30, 40]} | more


def objects(found: LabelFile | BadFile) -> tuple[ForeignBox, ...]:
    assert isinstance(found, LabelFile), found
    return found.objects


def frame(width_px: int = 200, height_px: int = 100) -> Frame:
    return Frame(
        line="fetal-ultrasound", recording_id="0" * 64, frame_index=0, oid="1" * 64, media_type="image/png", pts_s=0.0,
        width_px=width_px, height_px=height_px, phash="0" * 16, reason="sampled", taken_at=now(),
    )  # fmt: skip


def placed(found: LabelFile | BadFile, line: Line, **size: int) -> list[dict[str, Any]]:
    assert isinstance(found, LabelFile), found
    return place(found, frame(**size), line)


def test_ids_may_begin_anywhere_and_be_floats_or_text(tmp_path: Path) -> None:
    images = [
        {"id": 1e6, "file_name": "a_1.png"},
        {"id": "7.0", "file_name": "a_2.png"},
        {"id": -3, "file_name": "a_3.png"},
    ]
    found = read(
        tmp_path,
        [box(n, image_id=i, category_id="4.0") for n, i in enumerate(("1000000", 7, -3.0))],
        images=images,
    )
    assert [len(objects(each)) for each in found.values()] == [1, 1, 1]


def test_an_image_without_annotations_is_empty_and_without_a_size_is_taken(tmp_path: Path) -> None:
    found = read(tmp_path, [box()], images=[{**IMAGES[0], "width": None, "height": 0}, IMAGES[1]])
    full, empty = found["E01_0001"], found["E01_0002"]
    assert objects(empty) == () and len(objects(full)) == 1
    assert isinstance(full, LabelFile) and (full.width_px, full.height_px) == (None, None)


def test_folders_of_a_file_name_tell_images_apart(tmp_path: Path) -> None:
    found = read(tmp_path, [box()])
    assert found["E01_0001"].file == "_annotations.coco.json: scans/E01/E01_0001.png"


def test_names_of_one_class_in_any_case_and_by_its_synonyms(tmp_path: Path, line: Line) -> None:
    names = ["Head", "HEAD ", "fetal head", "Skull", "Arm"]
    categories = [{"id": n, "name": name} for n, name in enumerate(names)]
    found = read(tmp_path, [box(n, category_id=n, bbox=[n, 2, 9, 9]) for n in range(5)], categories=categories)
    assert [each["label"] for each in placed(found["E01_0001"], line)] == ["head"] * 4 + ["arms"]


def test_roboflows_class_0_is_a_heading_and_no_class(tmp_path: Path, line: Line) -> None:
    """Its exports name the project as class 0, and the classes below it; nothing is labelled with it."""
    categories = [
        {"id": 0, "name": "fetal-parts", "supercategory": "none"},
        {"id": 1, "name": "abdomen", "supercategory": "fetal-parts"},
    ]
    found = read(tmp_path, [box(category_id=1)], categories=categories)
    full = found["E01_0001"]
    assert isinstance(full, LabelFile) and classes_in(full) == {"abdomen"}
    assert line.class_named("fetal-parts") is None, "where something is labelled with it, the import names it"


@pytest.mark.parametrize(
    ("bbox", "expected"),
    [
        ([-1, -0.6, 30, 40], [0, 0, 29, 39.4]),
        ([171, 61, 30, 40], [171, 61, 29, 39]),
        ([0, 0, 200.5, 100.25], [0, 0, 200, 100]),
        ([10, 20, 190, 80], [10, 20, 190, 80]),
        ([-3, 20, 30, 40], [-3, 20, 30, 40]),
        ([180, 20, 22, 40], [180, 20, 22, 40]),
    ],
)
def test_what_sticks_out_by_a_pixel_is_cut_off_and_more_is_left_to_validation(
    tmp_path: Path, line: Line, bbox: list[float], expected: list[float]
) -> None:
    (found,) = placed(read(tmp_path, [box(bbox=bbox)])["E01_0001"], line)
    assert [found[name] for name in ("x_px", "y_px", "width_px", "height_px")] == expected


def test_a_crowd_stays_one(tmp_path: Path, line: Line) -> None:
    found = placed(read(tmp_path, [box(), box(2, iscrowd=1)])["E01_0001"], line)
    assert [each.get("crowd", False) for each in found] == [False, True]


def test_what_stands_twice_and_says_the_same_counts_once(tmp_path: Path) -> None:
    """As where files of overlapping parts were joined."""
    again = {**IMAGES[0], "license": 3, "date_captured": "2026-11-01"}
    categories = [*CATEGORIES, {"id": "4", "name": "Head", "supercategory": "fetus"}]
    found = read(tmp_path, [box(), box()], images=[*IMAGES, again], categories=categories)
    assert [len(objects(each)) for each in found.values()] == [1, 0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"images": [*IMAGES, {"id": 101, "file_name": "other.png"}]}, "its id 101 is another image's, too"),
        ({"images": [*IMAGES, {**IMAGES[0], "width": 77}]}, "its id 101 is another image's, too"),
        ({"annotations": [box(), box(bbox=[1, 2, 3, 4])]}, "the annotation id 1 stands twice"),
        ({"categories": [*CATEGORIES, {"id": 4, "name": "legs"}]}, "the category id 4 stands twice"),
    ],
)
def test_what_stands_twice_and_differs_is_refused(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    found = read(tmp_path, changes.pop("annotations", [box()]), **changes)["E01_0001"]
    assert isinstance(found, BadFile) and reason in found.reason


MASK = np.zeros((100, 200), np.uint8)
MASK[20:60, 10:40] = 1
MASK[25, 45] = 1
RUNS = np.flatnonzero(np.diff(np.concatenate([[0], MASK.T.ravel(), [0]])))


@pytest.mark.parametrize("bbox", [None, [], [0, 0, 0, 0]])
@pytest.mark.parametrize(
    ("segmentation", "expected"),
    [
        ([[10, 20, 40, 20, 40, 60.5, 10, 60.5]], [10, 20, 30, 40.5]),
        ([[10, 20, 40, 20, 25, 60], [5, 22, 9, 22, 9, 90]], [5, 20, 35, 70]),
        ({"size": [100, 200], "counts": masks.encode(MASK)}, [10, 20, 36, 40]),
        ({"size": [100, 200], "counts": np.diff([0, *RUNS, MASK.size]).tolist()}, [10, 20, 36, 40]),
        ({"size": [100, 200], "counts": [1050, 100, 18850]}, [10, 0, 2, 100]),  # on into the next column
    ],
)
def test_without_a_bbox_the_box_is_around_the_outline(
    tmp_path: Path, line: Line, bbox: Any, segmentation: Any, expected: list[float]
) -> None:
    found = read(tmp_path, [box(bbox=bbox, segmentation=segmentation)])["E01_0001"]
    (made,) = placed(found, line)
    assert [made[name] for name in ("x_px", "y_px", "width_px", "height_px")] == expected
    assert objects(read(tmp_path, [box(segmentation=segmentation)])["E01_0001"])[0].width == 30, "a bbox comes first"


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ([], "it has no bbox, nor a segmentation to take one from"),
        ("somewhere", "it has no bbox, and its segmentation is 'somewhere'"),
        ([10, 20, 30, 40, 50, 60], "a polygon of its segmentation is 10, expected [x, y, x, y, ...]"),
        ([[10, 20, 30, 40]], "a polygon of its segmentation is [10, 20, 30, 40]"),
        ([[10, 20, 30, 40, 50, "far"]], "a place of its polygon is 'far', expected a number"),
        ([[10, 20, 10, 40, 10, 60]], "a box of width 0 and height 40"),
        ({"counts": "x"}, "the size of its run lengths is None"),
        ({"size": [100, 200], "counts": [1, 2]}, "run lengths of 3 pixels cannot be a mask of 200 x 100 pixels"),
        ({"size": [100, 200], "counts": "\x00"}, "is not a text of COCO's run lengths"),
        ({"size": [100, 200], "counts": [0.5]}, "neither a text nor a list of whole numbers"),
        ({"size": [100, 200], "counts": [20_000]}, "a box of width 0 and height 0"),
    ],
)
def test_an_outline_that_gives_no_box_is_refused_by_name(tmp_path: Path, segmentation: Any, reason: str) -> None:
    found = read(tmp_path, [box(bbox=None, segmentation=segmentation)])["E01_0001"]
    assert isinstance(found, BadFile) and found.reason.startswith("cannot be taken: annotation 1: ")
    assert reason in found.reason


def test_a_mask_of_a_picture_of_another_size_is_refused(tmp_path: Path, line: Line) -> None:
    mask = {"size": [100, 200], "counts": masks.encode(MASK)}
    found = read(tmp_path, [box(bbox=None, segmentation=mask)])["E01_0001"]
    with pytest.raises(Misplaced, match=r"the mask of box 1 is of a picture of 200x100 px \(frame 0 has 400x200 px\)"):
        placed(found, line, width_px=400, height_px=200)
