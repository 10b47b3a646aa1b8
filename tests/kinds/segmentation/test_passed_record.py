"""Cells that passed on an earlier night are not judged again, and nothing that comes out is otherwise for it."""

from __future__ import annotations

from typing import Any

from tasks.kinds.segmentation.objects import mask_object
from tasks.lake import Lake
from tasks.schemas import Frame
from tasks.validation.validate import Validation, validate
from tests.kinds.segmentation.labelled import SEGMENTATION, cell_line, square
from tests.validation.factory import a_recording, an_annotation, fill, put_frame

LINE = cell_line("cell", "dust", plausible={"min_side_px": 3, "max_side_fraction": 0.9})
TABLE, RECORD = "validations/cells/passed.parquet", "validations/cells/passed.json"
TO_FILL = {"label": "cell", "x_px": 4, "y_px": 4, "width_px": 10, "height_px": 10, "to_fill": True}


def a_cell(top: int, left: int, side: int = 9, label: str = "cell", holed: bool = False) -> dict[str, Any]:
    mask = square(top, left, side)
    if holed:
        mask[top + 3 : top + 6, left + 3 : left + 6] = False
    return mask_object(label, mask)


def night(lake: Lake, first: int, drawn: list[list[dict[str, Any]]]) -> list[Frame]:
    """A recording with a frame for each list of cells."""
    recording = a_recording(f"r{first}", first)
    frames = [put_frame(lake, recording, index) for index in range(len(drawn))]
    labelled = enumerate(zip(frames, drawn, strict=True), first)
    fill(lake, [recording], frames, [an_annotation(frame, cells, n) for n, (frame, cells) in labelled])
    return frames


def told(found: Validation) -> tuple[Any, ...]:
    return found.result_oid, found.report_oid, found.accepted.to_pylist(), found.notes, found.missing


def test_cells_that_passed_and_those_that_did_not(lake: Lake) -> None:
    good = [a_cell(10, 10), a_cell(30, 40, label="dust")]
    cut, at_border = [a_cell(0, 20)], [a_cell(39, 55), a_cell(10, 10)]
    overlapping, holed, tiny = [a_cell(10, 10), a_cell(12, 12)], [a_cell(5, 5, 12, holed=True)], [a_cell(5, 5, 1)]
    night(lake, 0, [good, cut, [], overlapping, holed, tiny, [*good, TO_FILL], at_border])
    first = validate(lake, LINE, SEGMENTATION)
    frames = night(lake, 100, [cut, good, [TO_FILL], [{**a_cell(5, 5), "label": "stone"}]])
    lake.tables.append("annotations", [an_annotation(frames[1], [a_cell(20, 20)], 101, 9)])
    remembering = validate(lake, LINE, SEGMENTATION)
    record = lake.store.get_bytes(TABLE)
    for key in (TABLE, RECORD):
        lake.store.remove(key)
    whole = validate(lake, LINE, SEGMENTATION)
    assert told(remembering) == told(whole)
    assert lake.store.get_bytes(TABLE) == record
    assert len(whole.accepted) > len(first.accepted) > 0
    assert whole.quarantined
    assert any("border" in note and "on 3 pictures" in note for note in whole.notes), whole.notes
