"""Validation over a real lake: what is accepted, what is set aside and why, what is stored."""

from __future__ import annotations

import json
import re
import tracemalloc
from typing import Any

import pyarrow as pa
import pytest

from tasks.errors import InsufficientData
from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.lake.quarantine import listed
from tasks.lake.table_schemas import to_arrow
from tasks.schemas import Annotation, Frame, SplitAssignment
from tasks.validation.accepted import ACCEPTED
from tasks.validation.validate import Validation, load_validation, validate
from tests.validation.factory import (
    NOON,
    a_box,
    a_line,
    a_recording,
    an_annotation,
    fill,
    good_lake,
    put_frame,
)

DETECTION = kind_of("detection")

LINE = a_line()


def a_frame(lake: Lake, name: str, index: int = 0, **changes: Any) -> Frame:
    """A frame of a recording of its own, both in the lake."""
    recording = a_recording(name, 50)
    frame = put_frame(lake, recording, index, **changes)
    fill(lake, [recording], [frame], [])
    return frame


def judged(lake: Lake, *annotations: Annotation) -> Validation:
    """Validate a lake of good labels plus these."""
    good_lake(lake)
    lake.tables.append("annotations", annotations)
    return validate(lake, LINE, DETECTION)


def objects_of(validation: Validation, frame: Frame) -> list[dict[str, Any]] | None:
    for row in validation.accepted.to_pylist():
        if (row["recording_id"], row["frame_index"]) == (frame.recording_id, frame.frame_index):
            return list(json.loads(row["objects"]))
    return None


def test_good_data_is_accepted_as_it_is(lake: Lake) -> None:
    annotations = good_lake(lake)
    found = validate(lake, LINE, DETECTION)
    assert found.success
    assert found.missing == found.quarantined == []
    assert found.accepted.schema.names == list(ACCEPTED)
    assert found.accepted.num_rows == 6
    rows = {row["annotation_id"]: row for row in found.accepted.to_pylist()}
    for annotation in annotations:
        row = rows[annotation.annotation_id]
        assert row["revision_id"] == annotation.revision_id
        assert row["frame_oid"] == annotation.frame_oid
        assert json.loads(row["objects"]) == list(annotation.objects)
        assert row["group"] == f"recording:{annotation.recording_id}"
        assert row["pts_s"] == annotation.frame_index / 25
    found.require_enough(LINE)


def test_the_same_data_gives_the_same_blobs_and_can_be_loaded_again(lake: Lake) -> None:
    good_lake(lake)
    lake.tables.append("annotations", [an_annotation(a_frame(lake, "bad"), [a_box(), a_box(width=0)])])
    first, second = validate(lake, LINE, DETECTION), validate(lake, LINE, DETECTION)
    assert (first.result_oid, first.report_oid) == (second.result_oid, second.report_oid)
    loaded = load_validation(lake, LINE.line, first.result_oid)
    assert loaded.accepted.equals(first.accepted)
    assert [item.item_id for item in loaded.quarantined] == [item.item_id for item in first.quarantined]
    assert loaded.snapshots == first.snapshots
    result = json.loads(lake.blobs.get_bytes(first.result_oid))
    assert [suite["suite"] for suite in result["suites"]] == [
        "recordings", "annotations", "frames", "detection_labels", "dataset",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (a_box(width=0), "has no area"),
        (a_box(height=-4), "has no area"),
        (a_box(x=60), "sticks 4.0 px out"),
        (a_box(width=2.5), "only 2.5 px wide"),
        (a_box(x=1, width=40), "spans 62 %"),
        ({"label": "sperm", "x_px": 1}, "lacks a place"),
        (a_box(width=8.1), r"overlap 0\.99"),
    ],
)
def test_a_bad_box_goes_alone(lake: Lake, bad: dict[str, Any], reason: str) -> None:
    frame = a_frame(lake, "x y", 12)
    found = judged(lake, an_annotation(frame, [a_box(), bad, a_box(x=30)]))
    assert objects_of(found, frame) == [a_box(), a_box(x=30)]
    (item,) = found.quarantined
    assert re.search(reason, item.reason)
    assert (item.what, item.subject, item.annotator) == ("object", "x y.mp4 frame 12, object 2", "ann@lab")
    assert item.details["object"] == bad
    assert found.success


def test_setting_aside_twice_is_setting_aside_once(lake: Lake) -> None:
    judged(lake, an_annotation(a_frame(lake, "bad"), [a_box(), a_box(width=0)]))
    validate(lake, LINE, DETECTION)
    assert len(listed(lake, LINE.line)) == 1


def test_a_box_barely_outside_is_clipped(lake: Lake) -> None:
    frame = a_frame(lake, "bad")
    found = judged(lake, an_annotation(frame, [a_box(x=-0.5)]))
    assert found.quarantined == []
    assert objects_of(found, frame) == [a_box(x=0, width=7.5)]


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        ([a_box(), a_box(label="tail", x=30)], "the class 'tail' is not one of this line's"),
        ([a_box(), {**a_box(x=30), "label": None}], "an object without a class"),
        ([a_box(width=0), a_box(x=100)], "has no area"),
    ],
)
def test_what_cannot_be_told_takes_the_whole_frame(lake: Lake, objects: list[dict[str, Any]], reason: str) -> None:
    frame = a_frame(lake, "bad")
    found = judged(lake, an_annotation(frame, objects))
    assert objects_of(found, frame) is None
    (item,) = found.quarantined
    assert item.what == "annotation"
    assert reason in item.reason
    assert found.accepted.num_rows == 6


def test_an_annotation_without_objects_is_an_empty_frame(lake: Lake) -> None:
    frame = a_frame(lake, "empty")
    found = judged(lake, an_annotation(frame, []))
    assert objects_of(found, frame) == []
    assert found.quarantined == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"frame_oid": "e" * 64}, "another image"),
        ({"frame_index": 77}, "frame 77 of its recording is not in the lake"),
        ({"recording_id": "f" * 64}, "is not in the lake"),
        ({"annotator": ""}, "nobody is named"),
    ],
)
def test_an_annotation_of_something_else_is_set_aside(lake: Lake, change: dict[str, Any], reason: str) -> None:
    frame = a_frame(lake, "bad")
    found = judged(lake, an_annotation(frame, **change))
    assert objects_of(found, frame) is None
    (item,) = found.quarantined
    assert item.what == "annotation"
    assert reason in item.reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"frame_index": 500}, "frame 500 of a recording with 100 frames"),
        ({"oid": "d" * 64}, "image is not in the lake"),
        ({"phash": "?"}, "perceptual hash"),
    ],
)
def test_a_bad_frame_takes_its_annotations(lake: Lake, change: dict[str, Any], reason: str) -> None:
    frame = a_frame(lake, "bad", **change)
    found = judged(lake, an_annotation(frame))
    assert objects_of(found, frame) is None
    (item,) = found.quarantined
    assert item.what == "frame"
    assert reason in item.reason
    assert any("left out with the frames" in note for note in found.notes)


def test_an_empty_image_is_a_bad_frame(lake: Lake) -> None:
    frame = a_frame(lake, "bad", data=b"")
    (item,) = judged(lake, an_annotation(frame)).quarantined
    assert item.reason == "its image is an empty file"


def test_the_newest_revision_counts_and_the_deleted_are_out(lake: Lake) -> None:
    changed, deleted, cancelled = (a_frame(lake, name) for name in ("changed", "deleted", "cancelled"))
    newer = an_annotation(changed, [a_box(x=30)], minutes=5)
    found = judged(
        lake,
        newer,
        an_annotation(changed, [a_box(x=1)], minutes=1),
        an_annotation(deleted),
        an_annotation(deleted, state="deleted", revision_id="gone", synced_at=NOON.replace(hour=13)),
        an_annotation(cancelled),
        an_annotation(cancelled, state="cancelled", minutes=1),
    )
    assert objects_of(found, changed) == [a_box(x=30)]
    assert objects_of(found, deleted) is objects_of(found, cancelled) is None
    assert found.quarantined == []


def test_of_several_annotators_the_newest_good_work_counts(lake: Lake) -> None:
    frame = a_frame(lake, "shared", 4)
    found = judged(
        lake,
        an_annotation(frame, [a_box(x=1)], number=1, minutes=1, annotator="eve"),
        an_annotation(frame, [a_box(x=30)], number=2, minutes=2, annotator="bob"),
        an_annotation(frame, [a_box(label="tail")], number=3, minutes=3, annotator="kim"),
    )
    assert objects_of(found, frame) == [a_box(x=30)]
    assert any("shared.mp4 frame 4 by eve" in note for note in found.notes)


def test_other_lines_and_studies_are_not_looked_at(lake: Lake) -> None:
    line = a_line(recordings={"studies": ["ivf"]})
    good_lake(lake, study="ivf")
    other = a_recording("other", study="mice")
    frame, foreign = put_frame(lake, other, 0), put_frame(lake, other, 1, line="organs")
    fill(lake, [other], [frame, foreign], [an_annotation(frame), an_annotation(foreign)])
    found = validate(lake, line, DETECTION)
    assert found.accepted.num_rows == 6
    assert found.quarantined == []
    assert any(note.endswith("does not learn from: 1") for note in found.notes)


def test_nothing_at_all_is_too_little_and_says_of_what(lake: Lake) -> None:
    found = validate(lake, LINE, DETECTION)
    assert not found.success
    assert "there is no recording yet" in found.missing
    with pytest.raises(InsufficientData, match=r"labels of class sperm: 0 of 3 \(3 more needed\)"):
        found.require_enough(LINE)


def test_too_few_recordings_and_labels_are_counted(lake: Lake) -> None:
    good_lake(lake, names=("a", "b"))
    found = validate(lake, a_line(minimums={"recordings": 5, "labels": {"sperm": 10, "impurity": 1}}), DETECTION)
    assert found.missing == [
        "recordings with accepted labels: 2 of 5 (3 more needed)",
        "groups to split by (donor or recording): 2 of 3 (1 more needed)",
        "labels of class sperm: 4 of 10 (6 more needed)",
        "labels of class impurity: 0 of 1 (1 more needed)",
    ]


def test_a_recording_pinned_against_its_donors_first_is_set_aside(lake: Lake) -> None:
    good_lake(lake)
    first = a_recording("first", 10, donor="d", pinned_split="test")
    second = a_recording("second", 11, donor="d", pinned_split="train")
    third = a_recording("third", 12, donor="d")
    frames = [put_frame(lake, recording, 0) for recording in (first, second, third)]
    fill(lake, [second, third, first], frames, [an_annotation(frame) for frame in frames])
    found = validate(lake, LINE, DETECTION)
    (item,) = found.quarantined
    assert (item.what, item.subject) == ("recording", "second.mp4")
    assert "donor:d stands in test: 'first.mp4' was pinned to it first" in item.reason
    rows = {row["recording_name"]: row for row in found.accepted.to_pylist()}
    assert "second.mp4" not in rows
    assert rows["third.mp4"]["pinned_split"] == rows["first.mp4"]["pinned_split"] == "test"
    assert rows["a.mp4"]["pinned_split"] is None


def test_a_recording_pinned_against_its_groups_record_is_set_aside(lake: Lake) -> None:
    good_lake(lake)
    assigned = SplitAssignment(line=LINE.line, group="donor:d", split="train", pinned=False, assigned_at=NOON)
    lake.tables.append("splits", [assigned])
    late = a_recording("late", 10, donor="d", pinned_split="test")
    frame = put_frame(lake, late, 0)
    fill(lake, [late], [frame], [an_annotation(frame)])
    (item,) = validate(lake, LINE, DETECTION).quarantined
    assert "it was assigned before" in item.reason


def test_a_hundred_thousand_boxes_on_one_frame_are_set_aside_with_the_reason(lake: Lake) -> None:
    frame = a_frame(lake, "flooded")
    many = [a_box(x=number % 56, y=number % 42) for number in range(100_000)]
    good_lake(lake)
    lake.tables.append("annotations", [an_annotation(frame, many)])
    tracemalloc.start()
    found = validate(lake, LINE, DETECTION)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert objects_of(found, frame) is None
    (item,) = found.quarantined
    assert (item.what, item.annotator) == ("annotation", "ann@lab")
    assert item.reason == "it has 100000 objects, more than anybody draws on one frame"
    assert found.accepted.num_rows == 6
    assert peak < 300 * 2**20


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "[[]]", "{}", "[1e400]", '[{"label": "sperm", "x_px": 1e400, "y_px": [[[]]], "width_px": 8}]'],
)
def test_objects_that_are_damaged_in_the_table(lake: Lake, text: str) -> None:
    frame = a_frame(lake, "damaged")
    good_lake(lake)
    rows = to_arrow("annotations", [an_annotation(frame)])
    column = rows.schema.get_field_index("objects")
    lake.tables.append("annotations", rows.set_column(column, rows.schema.field(column), pa.array([text])))
    found = validate(lake, LINE, DETECTION)
    assert objects_of(found, frame) is None
    (item,) = found.quarantined
    assert item.what == "annotation"


def test_work_that_was_not_read_whole_is_set_aside_whole(lake: Lake) -> None:
    frame = a_frame(lake, "part", 3)
    found = judged(lake, an_annotation(frame, [a_box()], unread="a region is of type 'ellipselabels'"))
    assert objects_of(found, frame) is None
    (item,) = found.quarantined
    assert (item.what, item.subject, item.annotator) == ("annotation", "part.mp4 frame 3", "ann@lab")
    assert item.reason == "a region is of type 'ellipselabels'"
    html = lake.blobs.get_bytes(found.report_oid).decode()
    assert "would seem to show fewer objects" in html


def test_rows_of_before_there_was_unread_stay_good(lake: Lake) -> None:
    frame = a_frame(lake, "old")
    rows = to_arrow("annotations", [an_annotation(frame)]).drop_columns(["unread", "ground_truth", "review"])
    good_lake(lake)
    lake.tables.append("annotations", rows)
    found = validate(lake, LINE, DETECTION)
    assert objects_of(found, frame) == [a_box()]
    (row,) = lake.tables.rows("annotations", Annotation, {"recording_id": frame.recording_id})
    assert (row.unread, row.ground_truth, row.review) == (None, False, None)
