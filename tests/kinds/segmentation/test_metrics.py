"""The metrics adapter of segmentation: rows in and out, what is refused, and the contract of `champion --json`."""

from __future__ import annotations

import json
from io import BytesIO

import numpy as np
import pyarrow.parquet as pq
import pytest

from tasks.config import parse_line
from tasks.errors import DataError
from tasks.kinds.segmentation.instances import Instances
from tasks.kinds.segmentation.metrics import METRICS, judge, labelled_masks, predicted_masks, slices, tabulate
from tasks.metrics.judgement import measured
from tasks.metrics.masks import decode
from tests.kinds.segmentation.measured import HEIGHT, WIDTH, a_line, instances, rectangle, row

CELLS = [("cell", (2, 2, 10, 10)), ("cell", (2, 20, 10, 10)), ("debris", (25, 5, 4, 4))]
CLASSES = ("debris", "Nucleus", "something else")


def test_rows_keep_every_mask_to_the_pixel() -> None:
    line, frames = a_line(), [row(0, []), row(1, CELLS)]
    outputs = [instances(), instances((1, 0.9, (2, 3, 9, 8)), (2, 0.8, (30, 30, 5, 5)), (0, 0.25, (25, 5, 4, 5)))]
    table = tabulate(outputs, frames, CLASSES, line)
    buffer = BytesIO()
    pq.write_table(table, buffer)
    table = pq.read_table(BytesIO(buffer.getvalue()))
    assert table.column_names == [
        "frame_oid", "recording_id", "frame_index", "label", "score", "x_px", "y_px", "width_px", "height_px",
        "area_px", "mask",
    ]  # fmt: skip
    first, second = table.to_pylist()  # the class that the line lacks is left out
    assert (first["label"], second["label"], first["frame_oid"]) == ("cell", "debris", frames[1]["frame_oid"])
    assert (first["x_px"], first["y_px"], first["width_px"], first["height_px"], first["area_px"]) == (3, 2, 8, 9, 72)
    assert np.array_equal(decode(first["mask"], HEIGHT, WIDTH), rectangle(2, 3, 9, 8))
    found = predicted_masks(table, frames, line)
    assert (found.image.tolist(), found.label.tolist(), found.score.tolist()) == ([1, 1], [0, 1], [0.9, 0.25])
    assert tabulate([], [], CLASSES, line).column_names == table.column_names, "for columns of nothing"


def test_a_cell_without_a_pixel_is_no_cell() -> None:
    assert tabulate([instances((1, 0.9, (0, 0, 0, 0)))], [row(0, CELLS)], CLASSES, a_line()).num_rows == 0


def test_the_contract_of_champion_json() -> None:
    line, frames = a_line(), [row(0, CELLS), row(1, CELLS[:2])]
    outputs = [
        instances((1, 0.9, (2, 2, 10, 10)), (1, 0.8, (2, 20, 10, 10)), (0, 0.7, (25, 5, 4, 4))),
        instances((1, 0.9, (2, 2, 10, 10))),
    ]
    found = measured(judge(tabulate(outputs, frames, CLASSES, line), frames, line), 2)
    names = {"AP50_pooled", "AP50_mean", "PQ", "SQ", "RQ", "AJI", "F1_50", "mask_AP", "per_class"}
    assert names | {"AP_pooled", "AP_mean", "mask_AP50", "boundary_F", "count_mae", "ECE", "per_size"} <= found.keys()
    assert found["AP50_pooled"] == 4 / 5 and found["AP50_mean"] == (3 / 3 + 1 / 2) / 2
    assert found["per_class"]["cell"]["AP50_pooled"] == 3 / 4 and found["per_class"]["debris"]["PQ"] == 1.0
    assert found["per_size"]["small"]["labels"] == 1 and found["per_size"]["medium"]["AP50_pooled"] == 3 / 4
    json.dumps(found, allow_nan=False)


def test_the_first_metric_is_stardists_and_slices_follow_from_the_line() -> None:
    assert METRICS[0].name == "AP50_pooled"
    assert slices(a_line()) == {"class": ("cell", "debris"), "size": ("small", "medium", "large")}


def test_the_lines_threshold_counts() -> None:
    frames = [row(0, CELLS[:1])]
    outputs = [instances((1, 0.9, (2, 2, 10, 10)), (1, 0.3, (30, 40, 8, 8)))]
    for threshold, expected in ((0.2, 1 / 2), (0.5, 1.0)):
        line = a_line(evaluation={"score_threshold": threshold})
        found = measured(judge(tabulate(outputs, frames, CLASSES, line), frames, line), 1)
        assert (found["AP50_pooled"], found["score_threshold"]) == (expected, threshold)


def test_boxes_that_wait_to_be_filled_are_no_labels() -> None:
    waiting = {"label": "cell", "x_px": 1.0, "y_px": 1.0, "width_px": 5.0, "height_px": 5.0, "to_fill": True}
    assert len(labelled_masks([row(0, CELLS, waiting)], a_line()).image) == 3


def test_masks_of_another_size_and_scores_that_are_none_are_refused() -> None:
    line, frames = a_line(), [row(0, CELLS)]
    with pytest.raises(
        DataError, match=r"slide-0.png frame 0: its masks are of a picture of another size.*60 x 40.*62 x 50"
    ):
        tabulate([instances((1, 0.9, (0, 0, 5, 5)), height=50, width=62)], frames, CLASSES, line)
    for bad in (np.nan, 1.5, -0.1):
        with pytest.raises(DataError, match=r"slide-0.png frame 0: a score is not a number from 0 to 1"):
            tabulate([instances((1, bad, (0, 0, 5, 5)))], frames, CLASSES, line)


def test_predictions_of_other_pictures_are_refused() -> None:
    line, frames = a_line(), [row(0, CELLS), row(1, CELLS)]
    table = tabulate([instances((1, 0.9, (2, 2, 10, 10)))] * 2, frames, CLASSES, line)
    with pytest.raises(DataError, match="other pictures"):
        judge(table, frames[:1], line)
    with pytest.raises(DataError, match=r"other pictures.*cannot be a mask of 61 x 40"):
        judge(table, [frames[0], {**frames[1], "width_px": 61}], line)


def test_all_labels_that_cannot_be_measured_are_named_at_once() -> None:
    other = parse_line({**a_line().model_dump(mode="json"), "classes": ["cell"]}, "test")
    broken = row(3, CELLS[:1])
    broken["objects"] = broken["objects"].replace('"mask": "', '"mask": "5')
    with pytest.raises(DataError) as caught:
        labelled_masks([row(0, CELLS), broken], other)
    text = str(caught.value)
    assert "slide-0.png frame 0, cell 2: label 'debris'" in text and "slide-3.png frame 0, cell 0: run lengths" in text
    assert "2 that are not" in text


def test_nothing_found_in_any_picture_is_judged() -> None:
    line, frames = a_line(), [row(0, CELLS), row(1, [])]
    empty: list[Instances] = [instances(), instances()]
    found = measured(judge(tabulate(empty, frames, CLASSES, line), frames, line), 2)
    assert (found["AP50_pooled"], found["labels"], found["count_mae"]) == (0.0, 3, 1.5)
