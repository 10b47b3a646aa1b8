"""COCO's polygons and run lengths, and YOLO's outlines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from pycocotools import mask as coco_tools

from tasks.errors import ConfigError
from tasks.kind import BadFile, LabelFile, Misplaced
from tasks.kinds.segmentation import files
from tasks.kinds.segmentation.formats import coco
from tasks.kinds.segmentation.objects import mask_object
from tests.kinds.segmentation.labelled import MASKS, SEGMENTATION, a_frame, cell_line, square

LINE = cell_line("cell", "debris")
FRAME = a_frame(64, 48)
SQUARE = [10, 5, 30, 5, 30, 25, 10, 25]
COMPRESSED = mask_object("cell", square(5, 10, 20))["mask"]


def coco_file(folder: Path, *annotations: Any) -> Path:
    content = {
        "images": [{"id": 1, "file_name": "images/a.png", "width": 64, "height": 48}],
        "categories": [{"id": 7, "name": "Cell"}, {"id": 8, "name": "debris"}],
        "annotations": [{"id": n, "image_id": 1, "category_id": 7} | each for n, each in enumerate(annotations)],
    }
    (folder / "coco.json").write_text(json.dumps(content))
    return folder


def read(label_format: str, folder: Path) -> LabelFile | BadFile:
    (found,) = SEGMENTATION.read_files(label_format, folder, LINE)
    return found


def placed(label_format: str, folder: Path) -> list[dict[str, Any]]:
    found = read(label_format, folder)
    assert isinstance(found, LabelFile), found
    assert found.image == "a"
    return files.place(found, FRAME, LINE)


def test_coco_polygons_and_both_kinds_of_run_lengths(tmp_path: Path) -> None:
    counts = np.diff(np.flatnonzero(np.diff(np.concatenate([[2], square(5, 10, 20).ravel(order="F"), [2]]))))
    coco_file(
        tmp_path,
        {"segmentation": [SQUARE]},
        {"segmentation": {"size": [48, 64], "counts": COMPRESSED}},
        {"segmentation": {"size": [48, 64], "counts": counts.tolist()}, "category_id": 8},
        {"segmentation": [[10, 5, 20, 5, 20, 25, 10, 25], [20, 5, 30, 5, 30, 25, 20, 25]]},
    )
    cell = mask_object("cell", square(5, 10, 20))
    assert placed("coco", tmp_path) == [cell, cell, cell | {"label": "debris"}, cell]


def test_a_crowd_is_a_box_that_nobody_fills(tmp_path: Path) -> None:
    coco_file(tmp_path, {"segmentation": {"size": [48, 64], "counts": COMPRESSED}, "iscrowd": 1})
    assert placed("coco", tmp_path) == [
        {"label": "cell", "x_px": 10, "y_px": 5, "width_px": 20, "height_px": 20, "to_fill": True, "crowd": True}
    ]


@given(MASKS)
def test_run_lengths_are_those_of_cocos_own_tools(mask: np.ndarray) -> None:
    height, width = mask.shape
    text = coco_tools.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()
    runs = np.diff(np.flatnonzero(np.concatenate([[True], np.diff(mask.ravel(order="F")), [True]]))).tolist()
    loose = [0, *runs] if mask[0, 0] else [*runs[:1], 0, 0, *runs[1:]]  # with runs of nothing, which some writers leave
    for counts in (text, loose):
        assert coco._mask(counts, height, width) == text


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({}, "no segmentation"),
        ({"segmentation": [], "bbox": [1, 2, 3, 4]}, "of a box alone"),
        ({"segmentation": [[1, 2, 3, 4]]}, "a polygon of 4 values"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "a polygon of 7 values"),
        ({"segmentation": [[*SQUARE[:-1], "x"]]}, "'x', expected a number"),
        ({"segmentation": [[*SQUARE[:-1], float("inf")]]}, "expected a number"),
        ({"segmentation": [[*SQUARE[:-1], 1e9]]}, "lies in no picture"),
        ({"segmentation": SQUARE}, "expected [x, y, x, y, ...]"),
        ({"segmentation": [SQUARE] * 1001}, "1001 polygons"),
        ({"segmentation": {"counts": COMPRESSED}}, "expected [height, width]"),
        ({"segmentation": {"size": [48, -64], "counts": COMPRESSED}}, "expected [height, width]"),
        ({"segmentation": {"size": [10**6, 10**6], "counts": COMPRESSED}}, "expected [height, width]"),
        ({"segmentation": {"size": [48, 65], "counts": COMPRESSED}}, "cannot be a mask of 65 x 48 pixels"),
        ({"segmentation": {"size": [48, 64], "counts": COMPRESSED[:-1]}}, "not a text of COCO's run lengths"),
        ({"segmentation": {"size": [48, 64], "counts": "\u00e9"}}, "not a text of COCO's run lengths"),
        ({"segmentation": {"size": [48, 64], "counts": [1, 2]}}, "run lengths of 3 pixels"),
        ({"segmentation": {"size": [48, 64], "counts": [48 * 64 + 5, -5]}}, "whole numbers"),
        ({"segmentation": {"size": [48, 64], "counts": [10**30]}}, "whole numbers"),
        ({"segmentation": {"size": [48, 64], "counts": {}}}, "whole numbers"),
        ({"segmentation": [SQUARE], "category_id": 9}, "its category 9 is not in categories"),
        ({"segmentation": [SQUARE], "iscrowd": 2}, "its iscrowd is 2"),
    ],
)
def test_a_coco_annotation_that_cannot_be_read(tmp_path: Path, entry: dict[str, Any], why: str) -> None:
    found = read("coco", coco_file(tmp_path, entry))
    assert isinstance(found, BadFile), found
    assert why in found.reason


def test_yolo_outlines_are_fractions_of_the_picture(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cell\ndebris\n")
    (tmp_path / "a.txt").write_text("1 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n0 0.5 0.5 1.0 0.5 1.0 1 0.5 1.0\n")
    expected = [np.zeros((48, 64), dtype=np.bool_) for _ in range(2)]
    expected[0][12:36, 16:48], expected[1][24:, 32:] = True, True
    assert placed("yolo", tmp_path) == [mask_object("debris", expected[0]), mask_object("cell", expected[1])]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0 0.5 0.5 0.1 0.1", "a box, expected a class and x y"),
        ("0 0.1 0.1 0.2", "4 values"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.93", "remove the extra column"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.93 17", "a track's"),
        ("0 10 10 50 10 50 50.5", "a place outside the image"),
        ("x 0.1 0.1 0.2 0.1 0.2 0.2", "no class number"),
        ("0 0.1 0.1 nan 0.1 0.2 0.2", "expected a number"),
    ],
)
def test_a_yolo_line_that_is_no_outline(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "classes.txt").write_text("cell\n")
    (tmp_path / "a.txt").write_text(text)
    found = read("yolo", tmp_path)
    assert isinstance(found, BadFile), found
    assert why in found.reason


def test_yolo_poses_are_no_outlines_and_unnamed_classes_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 0.1 0.1 0.2 0.1 0.2 0.2")
    with pytest.raises(ConfigError, match="nothing says which class has which number"):
        read("yolo", tmp_path)
    (tmp_path / "data.yaml").write_text("names: [cell]\nkpt_shape: [1, 2]\n")
    found = read("yolo", tmp_path)
    assert isinstance(found, BadFile)
    assert "kpt_shape [1, 2]" in found.reason


def test_outlines_that_lie_nowhere_or_cross_themselves_are_all_told(tmp_path: Path) -> None:
    coco_file(
        tmp_path,
        {"segmentation": [[100, 100, 120, 100, 110, 120]]},
        {"segmentation": [SQUARE]},
        {"segmentation": [[10, 10, 30, 30, 30, 10, 10, 30]]},
        {"segmentation": [[10, 10, 10.2, 10, 10.1, 10.1]]},
        {"segmentation": [[-20, 10, -5, 10, -8, 30]]},
    )
    found = read("coco", tmp_path)
    assert isinstance(found, LabelFile)
    with pytest.raises(Misplaced) as told:
        files.place(found, FRAME, LINE)
    assert str(told.value) == (
        "cell 1 has an outline that covers no pixel of the picture (from x 100, y 100 px on); cell 3 has an outline "
        "that crosses itself: nobody can tell what it encloses; cell 4 has an outline that covers no pixel of the "
        "picture (from x 10, y 10 px on); and 1 more"
    )


def test_what_sticks_out_of_the_picture_is_cut(tmp_path: Path) -> None:
    coco_file(tmp_path, {"segmentation": [[54, 38, 80, 38, 80, 60, 54, 60]]})
    (item,) = placed("coco", tmp_path)
    assert item == mask_object("cell", square(38, 54, 20))


def test_classes_are_in_the_files_words(tmp_path: Path) -> None:
    found = read("coco", coco_file(tmp_path, {"segmentation": [SQUARE]}))
    assert isinstance(found, LabelFile)
    assert files.classes_in(found) == {"Cell"}
