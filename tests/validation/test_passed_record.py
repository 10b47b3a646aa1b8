"""What passed on earlier nights is not judged again, and nothing that comes out is otherwise for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.lake.signed import seal_json
from tasks.schemas import Annotation, Frame, now
from tasks.validation import judging, passed_record
from tasks.validation.suites import SuiteResult, run_suite
from tasks.validation.validate import Validation, load_validation, validate
from tests.validation.factory import a_box, a_line, a_recording, an_annotation, fill, good_lake, put_frame

DETECTION = kind_of("detection")
LINE = a_line()
JSON, PARQUET = "validations/cells/passed.json", "validations/cells/passed.parquet"
ALL = 20
"""Annotations of `first_night` on recordings that may be used."""
Looked = dict[str, int]


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Looked:
    """Suite -> how many rows it looked at when it ran last."""
    rows: Looked = {}

    def spied(name: str, table: Any, **more: Any) -> SuiteResult:
        rows[name] = len(table)
        return run_suite(name, table, **more)

    monkeypatch.setattr(judging, "run_suite", spied)
    return rows


def first_night(lake: Lake) -> list[Annotation]:
    """A lake of all sorts of labels, validated."""
    good = good_lake(lake, ("a", "b", "c"), frames_each=4)
    recording, small = a_recording("d", 30), a_recording("e", 31, frames_decoded=50)
    frames = [put_frame(lake, recording, n) for n in range(6)] + [put_frame(lake, small, 0)]
    frames.append(put_frame(lake, recording, 6, phash="none"))
    crowd = {**a_box(x=1), "crowd": True}
    drawn = [
        [a_box(), a_box(x=11.2)], [a_box(x=60.2, width=4)], [], [a_box(), a_box(width=1)], [a_box("dust")],
        [crowd, a_box(x=30)], [a_box()], [a_box()],
    ]  # fmt: skip
    annotations = [an_annotation(frame, boxes, n) for n, (frame, boxes) in enumerate(zip(frames, drawn, strict=True))]
    annotations += [an_annotation(frames[0], [a_box(x=10.5)], 77, 5, annotator="bea@lab")]
    fill(lake, [recording, small], frames, annotations)
    validate(lake, LINE, DETECTION)
    return [*good, *annotations]


def second_night(lake: Lake) -> tuple[Frame, Frame]:
    """New work: on a new recording, on a frame that is known, and a correction."""
    recording = a_recording("f", 40)
    known = put_frame(lake, a_recording("d", 30), 2)
    frames = [put_frame(lake, recording, n) for n in range(2)]
    fill(lake, [recording], frames, [an_annotation(frames[0], [a_box()], 100), an_annotation(frames[1], [], 101)])
    lake.tables.append("annotations", [
        an_annotation(known, [a_box("impurity")], 102, 9, annotator="bea@lab"),
        an_annotation(put_frame(lake, a_recording("d", 30), 1), [a_box(x=70)], 1, 9),
    ])  # fmt: skip
    return frames[0], frames[1]


def forget(lake: Lake) -> None:
    for key in (JSON, PARQUET):
        lake.store.remove(key)


def told(found: Validation) -> tuple[Any, ...]:
    return found.result_oid, found.report_oid, found.accepted.to_pylist(), found.notes, found.missing


def test_nothing_that_comes_out_is_otherwise(lake: Lake, looked: Looked) -> None:
    first_night(lake)
    assert looked["annotations"] == ALL
    second_night(lake)
    remembering = validate(lake, LINE, DETECTION)
    few = dict(looked)
    record = lake.store.get_bytes(PARQUET)
    forget(lake)
    whole = validate(lake, LINE, DETECTION)
    assert told(remembering) == told(whole)
    assert looked["annotations"] == ALL + 3
    assert few["annotations"] == 1 + 3 + 4  # one that passed, those that did not, and four new ones
    assert few["detection_labels"] < looked["detection_labels"]
    assert few["frames"] < looked["frames"]
    assert few["recordings"] == looked["recordings"]
    assert lake.store.get_bytes(PARQUET) == record
    assert any("crowds" in note for note in whole.notes)
    assert any("not used because" in note for note in whole.notes)
    assert told(load_validation(lake, LINE.line, whole.result_oid))[2:] == told(whole)[2:]


def test_a_night_with_nothing_new_looks_at_what_did_not_pass_and_at_one_more(lake: Lake, looked: Looked) -> None:
    first_night(lake)
    before = lake.store.head(PARQUET)
    again = validate(lake, LINE, DETECTION)
    assert looked["annotations"] == 1 + 3  # of dust, with a box too small, on a frame that cannot be used
    assert lake.store.head(PARQUET) == before, "the same record is not filed again"
    forget(lake)
    assert told(validate(lake, LINE, DETECTION)) == told(again)


def test_annotations_without_objects_alone(lake: Lake) -> None:
    recordings = [a_recording(name) for name in "abc"]
    frames = [put_frame(lake, recording, 0) for recording in recordings]
    fill(lake, recordings, frames, [an_annotation(frame, []) for frame in frames])
    whole = validate(lake, LINE, DETECTION)
    assert told(validate(lake, LINE, DETECTION)) == told(whole)


def test_a_recording_that_is_set_aside_takes_what_passed_with_it(lake: Lake) -> None:
    """Two recordings of one donor that are pinned apart: the later one's fault, which nobody knew the night before."""
    line = a_line(splits={"group": "donor"})
    recordings = [a_recording(name, n, donor=name) for n, name in enumerate("abcd")]
    frames = [put_frame(lake, recording, 0) for recording in recordings]
    fill(lake, recordings, frames, [an_annotation(frame) for frame in frames])
    validate(lake, line, DETECTION)
    late = a_recording("e", -5, donor="d", pinned_split="test")
    later = a_recording("f", -4, donor="d", pinned_split="train")
    own = [put_frame(lake, recording, 0) for recording in (late, later)]
    fill(lake, [late, later], own, [an_annotation(frame) for frame in own])
    validate(lake, line, DETECTION)
    remembering = validate(lake, line, DETECTION)
    forget(lake)
    assert told(validate(lake, line, DETECTION)) == told(remembering)


@pytest.mark.parametrize(
    "change",
    [
        {"objects": (a_box(x=500),)},
        {"frame_index": 3},
        {"unread": "one region could not be read"},
    ],
)
def test_what_was_changed_under_its_name_is_judged_again(lake: Lake, change: dict[str, Any]) -> None:
    """Who can write to the bucket can change a row of the table, and not what passes."""
    annotations = good_lake(lake)
    assert not validate(lake, LINE, DETECTION).quarantined
    changed = annotations[0].model_copy(update={**change, "synced_at": now()})
    lake.tables.append("annotations", [changed])
    assert changed.revision_id == annotations[0].revision_id
    (item,) = validate(lake, LINE, DETECTION).quarantined
    assert item.annotation_id == changed.annotation_id


def forged(lake: Lake) -> None:
    lake.store.put_bytes(JSON, lake.store.get_bytes(JSON).replace(b'"cells"', b'"other"'), "application/json")


def of_another_place(lake: Lake) -> None:
    about = passed_record.kept(lake, "passed", "cells", JSON)
    lake.store.put_bytes(JSON, seal_json(lake.settings, "passed", "others", JSON, about), "application/json")


def half_filed(lake: Lake) -> None:
    lake.store.put_bytes(PARQUET, lake.store.get_bytes(PARQUET) + b" ", "application/vnd.apache.parquet")


def lost(lake: Lake) -> None:
    lake.store.remove(PARQUET)


def old(lake: Lake) -> None:
    about = passed_record.kept(lake, "passed", "cells", JSON)
    about["whole_at"] = (now() - passed_record.WHOLE_EVERY - timedelta(minutes=1)).isoformat()
    passed_record.keep(lake, "passed", "cells", JSON, about)


@pytest.mark.parametrize("spoil", [forged, of_another_place, half_filed, lost, old])
def test_with_a_record_that_does_not_count_everything_is_judged(
    lake: Lake, looked: Looked, spoil: Callable[[Lake], None]
) -> None:
    first_night(lake)
    spoil(lake)
    validate(lake, LINE, DETECTION)
    assert looked["annotations"] == ALL
    validate(lake, LINE, DETECTION)
    assert looked["annotations"] < ALL, "and filed anew"


def test_other_checks_judge_everything(lake: Lake, looked: Looked) -> None:
    first_night(lake)
    line = a_line(plausible={"min_side_px": 7, "max_side_fraction": 0.5})
    remembering = validate(lake, line, DETECTION)
    assert looked["annotations"] == ALL
    forget(lake)
    assert told(validate(lake, line, DETECTION)) == told(remembering)
    assert remembering.missing


def test_a_kind_that_compares_frames_keeps_no_record() -> None:
    judged_alone = {name: kind_of(name).judged_alone for name in ("detection", "segmentation", "classification")}
    assert judged_alone == {"detection": True, "segmentation": True, "classification": False}
