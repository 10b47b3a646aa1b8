"""What the checks see of masks, and what the suite sets aside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from tasks.kinds.segmentation import checks
from tasks.kinds.segmentation.objects import mask_object
from tasks.kinds.segmentation.shapes import hole_pixels, measure
from tasks.metrics import masks
from tasks.validation.inputs import Row
from tasks.validation.suites import run_suite
from tests.kinds.segmentation.labelled import MASKS, SEGMENTATION, a_frame, cell_line, square

LINE = cell_line("cell", "debris")
FRAME = a_frame(64, 48)
KEY = (FRAME.recording_id, FRAME.frame_index, FRAME.oid)
EXPECTATIONS = Path(__file__).parents[3] / "expectations"
BOX = {"label": "cell", "x_px": 3.0, "y_px": 4.0, "width_px": 9.5, "height_px": 8.0, "to_fill": True}


def annotation(*objects: Any, number: int = 7) -> Row:
    return {
        "annotation_id": f"1-{number}", "recording_id": KEY[0], "frame_index": KEY[1], "frame_oid": KEY[2],
        "objects": list(objects),
    }  # fmt: skip


def rows(*objects: Any) -> list[Row]:
    return checks.labels_table([annotation(*objects)], {KEY: FRAME}).to_dict("records")  # type: ignore[return-value]


def failures(*objects: Any) -> dict[str, list[tuple[str, str]]]:
    """Row id -> the checks that it failed, and what they cost."""
    table = checks.labels_table([annotation(*objects)], {KEY: FRAME})
    result = run_suite(
        checks.SUITE,
        table,
        row_id="row_id",
        parameters=checks.parameters(LINE),
        folder=SEGMENTATION.expectations(EXPECTATIONS),
    )
    return {row: [(check.check, str(check.sets_aside)) for check in found] for row, found in result.failures.items()}


def cell(mask: np.ndarray, **more: Any) -> dict[str, Any]:
    return mask_object("cell", mask, **more)


@given(st.lists(MASKS, max_size=6))
def test_shapes_are_measured_as_their_pixels_say(pictures: list[np.ndarray]) -> None:
    texts = [masks.encode(each) for each in pictures]
    found = measure(texts, [len(each) for each in pictures], [each.shape[1] for each in pictures])
    for index, each in enumerate(pictures):
        pieces, count = ndimage.label(each, np.ones((3, 3)))
        enclosed = ndimage.binary_fill_holes(each) & ~each
        place = np.nonzero(each) if count else (np.zeros(1) - 0, np.zeros(1) - 0)
        behind = int(count > 0)
        assert found.complete[index]
        assert found.area_px[index] == each.sum()
        assert (found.pieces[index], found.holes[index]) == (count, ndimage.label(enclosed)[1])
        assert found.largest_px[index] == (np.bincount(pieces.ravel())[1:].max() if count else 0)
        assert hole_pixels(texts[index], len(each)) == enclosed.sum()
        assert (found.top[index], found.bottom[index]) == (place[0].min(), place[0].max() + behind)
        assert (found.left[index], found.right[index]) == (place[1].min(), place[1].max() + behind)


@given(st.lists(st.text(st.characters(min_codepoint=45, max_codepoint=115), max_size=9), max_size=5), st.integers(1, 9))
def test_a_text_is_complete_where_it_is_one_by_itself(texts: list[str], side: int) -> None:
    good = masks.encode(np.eye(side))
    found = measure([*texts, good], [side] * (len(texts) + 1), [side] * (len(texts) + 1))
    for text, complete in zip(texts, found.complete, strict=False):
        try:
            masks.check_counts(text, side, side)
            assert complete
        except ValueError:
            assert not complete
    assert found.complete[-1]
    assert found.area_px[-1] == side


def test_a_good_cell_and_a_box_to_fill_pass() -> None:
    assert failures(cell(square(5, 6, 10)), cell(square(20, 30, 12)), BOX) == {}


def test_a_picture_without_cells_has_no_rows() -> None:
    table = checks.labels_table([annotation()], {KEY: FRAME})
    assert len(table) == 0
    assert {"row_id", "label", "overlap_percent"} <= set(table)


SPLIT = square(5, 6, 8) | square(30, 40, 8)
CRUMB = square(5, 6, 10) | square(30, 40, 2)
RING = square(5, 6, 10) & ~square(8, 9, 4)
STRIP = square(2, 0, 62)[:, ::-1] & ~square(5, 0, 64)
PINHOLE = square(5, 6, 10) & ~square(9, 9, 1)


@pytest.mark.parametrize(
    ("item", "failed"),
    [
        (cell(square(5, 6, 10)) | {"label": ""}, [("class_is_given", "annotation")]),
        (cell(square(5, 6, 10)) | {"label": ["cell"]}, [("class_is_given", "annotation")]),
        (cell(square(5, 6, 10)) | {"label": "martian"}, [("class_is_known", "annotation")]),
        (BOX | {"label": "martian"}, [("class_is_known", "annotation")]),
        (cell(square(5, 6, 10, (48, 65))), [("mask_fits_the_picture", "annotation")]),
        (cell(square(5, 6, 10, (64, 48))), [("mask_fits_the_picture", "annotation")]),
        ({"label": "cell"}, [("mask_fits_the_picture", "annotation")]),
        (cell(square(5, 6, 10)) | {"height_px": "48"}, [("mask_fits_the_picture", "annotation")]),
        (cell(square(5, 6, 10)) | {"mask": "0P"}, [("mask_is_complete", "object")]),
        (cell(square(5, 6, 10)) | {"mask": ""}, [("mask_is_complete", "object")]),
        (cell(square(5, 6, 10)) | {"mask": "é"}, [("mask_is_complete", "object")]),
        (BOX | {"width_px": 0.0}, [("mask_is_complete", "object")]),
        (BOX | {"y_px": float("nan")}, [("mask_is_complete", "object")]),
        (BOX | {"y_px": None}, [("mask_is_complete", "object")]),
        (cell(square(0, 0, 0)), [("mask_has_pixels", "object")]),
        (cell(square(5, 6, 10), crosses_itself=True), [("outline_does_not_cross_itself", "object")]),
        (cell(square(5, 6, 1)), [("mask_is_not_too_small", "object")]),
        (cell(STRIP), [("mask_is_not_too_large", "object")]),
        (cell(SPLIT), [("mask_is_one_piece", "object")]),
        (cell(CRUMB), []),
        (cell(RING), [("mask_has_no_large_hole", "object")]),
        (cell(PINHOLE), []),
    ],
)
def test_what_is_set_aside(item: dict[str, Any], failed: list[tuple[str, str]]) -> None:
    assert failures(item, cell(square(30, 6, 10))) == ({"1-7#0": failed} if failed else {})


def test_what_is_measured_of_a_mask() -> None:
    split, ring, empty, box = rows(cell(SPLIT), cell(np.roll(RING, 30, axis=1)), cell(square(0, 0, 0)), BOX)
    assert (split["pieces"], split["rest_percent"], split["holes"]) == (2, 50, 0)
    assert (split["width_px"], split["height_px"], split["area_px"]) == (42, 33, 128)
    assert split["longest_side_fraction"] == 42 / 64
    assert (ring["holes"], ring["hole_percent"]) == (1, 16)
    assert np.isnan([each["area_px"] for each in (empty, box)]).all()
    assert (empty["has_pixels"], box["has_pixels"], box["complete"]) == (False, True, True)


def test_overlaps_are_a_share_of_ones_own_pixels() -> None:
    large, small = cell(square(5, 5, 20)), cell(square(20, 20, 10))  # 5 x 5 px are both's
    edge = mask_object("debris", square(24, 5, 10))
    found = rows(large, small, edge)
    assert [each["overlap_percent"] for each in found] == [100 * (25 + 10) / 400, 25, 10]
    assert failures(large, small, edge) == {"1-7#1": [("mask_overlaps_no_other", "object")]}


def test_of_a_cell_that_is_painted_twice_the_first_stays() -> None:
    first, again, other = cell(square(5, 5, 20)), cell(square(5, 5, 20)), cell(square(5, 6, 20))
    debris = mask_object("debris", square(30, 40, 9))
    assert failures(first, debris, again, other) == {
        "1-7#2": [("mask_is_not_a_duplicate", "object")],
        "1-7#3": [("mask_is_not_a_duplicate", "object")],
    }
    assert [each["overlap_percent"] for each in rows(first, debris, again, other)] == [0, 0, 0, 0]


def test_annotations_are_not_compared_with_each_other() -> None:
    both = [annotation(cell(square(5, 5, 20))), annotation(BOX, cell(square(5, 5, 20)), number=8)]
    table = checks.labels_table(both, {KEY: FRAME})
    assert table["row_id"].tolist() == ["1-7#0", "1-8#0", "1-8#1"]
    assert table["overlap_percent"].fillna(-1).tolist() == [0, -1, 0]


def test_cells_that_the_border_cuts_are_marked() -> None:
    inner, *cut = [square(5, 6, 10), square(0, 6, 5), square(20, 0, 5), square(43, 20, 5), square(9, 59, 5)]
    objects = [cell(each, crosses_itself=False, score=1) for each in (inner, *cut)]
    clean = checks.cleaned([objects[0], BOX | {"crowd": True, "score": 1}, *objects[1:]], FRAME)
    assert clean[0] == cell(inner)
    assert clean[1] == BOX | {"crowd": True}
    assert clean[2:] == [cell(each, at_border=True) for each in cut]
    assert checks.cleaned([], FRAME) == []


def test_a_box_to_fill_counts_as_no_label_and_its_picture_is_not_learned_from() -> None:
    item = cell(square(5, 6, 10))
    assert checks.counted([item, BOX]) == [item]
    assert (checks.is_learned_from([item]), checks.is_learned_from([item, BOX]), checks.is_learned_from([])) == (
        True,
        False,
        True,
    )
    assert checks.unfinished([item]) is None and checks.unfinished([]) is None
    assert "only boxed" in str(checks.unfinished([item, BOX]))
    assert "crowd" in str(checks.unfinished([BOX, BOX | {"crowd": True}]))


def test_cells_that_the_border_cuts_are_counted() -> None:
    item = cell(square(5, 6, 10))
    assert checks.notes([[item], [item, item | {"at_border": True}]]) == [
        "cells that the border of their picture cuts: 1, on 1 pictures"
    ]
    assert checks.notes([[item]]) == []


def test_agreement_is_of_masks_that_overlap_by_half() -> None:
    first = [cell(square(5, 5, 20)), cell(square(30, 40, 10)), mask_object("debris", square(2, 50, 5)), BOX]
    second = [cell(square(5, 9, 20)), cell(square(30, 46, 10)), cell(square(2, 50, 5))]
    cells, debris = checks.agreement(first, second, LINE)
    assert (cells.matched, cells.first, cells.second) == (1, 2, 3)
    assert (debris.matched, debris.first, debris.second) == (0, 1, 0)
    assert checks.agreement([], [], LINE)[0].f1 is None


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (cell(square(5, 6, 10)), "cell: left 6, top 5, width 10, height 10 px, 100 pixels"),
        (BOX, "cell: a box to fill"),
        (BOX | {"x_px": "3"}, "cell: a damaged box"),
        (cell(square(5, 6, 10)) | {"mask": "~"}, "cell"),
        ({"label": "cell"}, "cell"),
    ],
)
def test_a_cell_in_a_few_words(item: dict[str, Any], words: str) -> None:
    assert checks.described(item) == words
