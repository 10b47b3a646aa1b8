"""Several people on one frame: whose work counts, that what lost is on record, and how far people agree."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tasks.config import AnnotatorChoice, parse_line
from tasks.errors import ConfigError
from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.schemas import Annotation, Frame
from tasks.validation.validate import Validation, validate
from tests.validation.factory import a_box, a_line, a_recording, an_annotation, fill, good_lake, put_frame

DETECTION = kind_of("detection")


def work(frame: Frame, who: str, number: int, x: float, **changes: Any) -> Annotation:
    return an_annotation(frame, [a_box(x=x)], number=number, minutes=number, annotator=who, **changes)


def judged(lake: Lake, *people: dict[str, Any], **line: Any) -> tuple[Validation, str]:
    """Validate a frame that several people labelled; the validation, and whose work was chosen."""
    good_lake(lake)
    recording = a_recording("shared", 9)
    frame = put_frame(lake, recording, 0)
    fill(lake, [recording], [frame], [work(frame, number=n, x=5 + n, **who) for n, who in enumerate(people)])
    found = validate(lake, a_line(**line), DETECTION)
    (row,) = [row for row in found.accepted.to_pylist() if row["recording_name"] == "shared.mp4"]
    return found, row["annotator"]


PREFER = {"annotators": {"prefer": ["Eva@lab", "kim@lab"], "else": "newest"}}


@pytest.mark.parametrize(
    ("people", "line", "chosen", "because"),
    [
        (["eva@lab", "bob@lab"], {}, "bob@lab", "it is newer"),
        (["eva@lab", "kim@lab", "bob@lab"], PREFER, "eva@lab", "the line prefers eva@lab"),
        (["kim@lab", "bob@lab"], PREFER, "kim@lab", "the line prefers kim@lab"),
        (["bob@lab", {"who": "zoe@lab"}], PREFER, "zoe@lab", "it is newer"),
        ([{"who": "bob@lab", "ground_truth": True}, "eva@lab"], PREFER, "bob@lab", "it is marked as ground truth"),
        ([{"who": "bob@lab", "review": "accepted"}, "eva@lab"], PREFER, "bob@lab", "a reviewer accepted it"),
        (["bob@lab", {"who": "eva@lab", "review": "rejected"}], PREFER, "bob@lab", "a reviewer rejected this one"),
    ],
)
def test_whose_work_counts(lake: Lake, people: list[Any], line: dict[str, Any], chosen: str, because: str) -> None:
    found, who = judged(lake, *({"who": own} if isinstance(own, str) else own for own in people), **line)
    assert who == chosen
    result = json.loads(lake.blobs.get_bytes(found.result_oid))
    assert {entry["annotator"] for entry in result["replaced"]} | {chosen} == {
        own if isinstance(own, str) else own["who"] for own in people
    }
    assert {entry["chosen_annotator"] for entry in result["replaced"]} == {chosen}
    assert because in {entry["because"] for entry in result["replaced"]}
    assert any("shared.mp4 frame 0 by" in note and because in note for note in found.notes)
    html = lake.blobs.get_bytes(found.report_oid).decode()
    assert "Several people on one frame" in html
    assert because in html


def test_bad_work_of_the_preferred_does_not_count(lake: Lake) -> None:
    found, who = judged(lake, {"who": "eva@lab", "unread": "a region is of type 'x'"}, {"who": "bob@lab"}, **PREFER)
    assert who == "bob@lab"
    (item,) = found.quarantined
    assert (item.what, item.annotator, item.reason) == ("annotation", "eva@lab", "a region is of type 'x'")
    assert item.subject == "shared.mp4 frame 0"


def test_a_preferred_name_that_labelled_nothing_is_said(lake: Lake) -> None:
    good_lake(lake)
    assert any(
        "labelled nothing: Eva@lab, kim@lab" in note for note in validate(lake, a_line(**PREFER), DETECTION).notes
    )


def test_how_far_people_agree_is_in_the_report(lake: Lake) -> None:
    good_lake(lake)
    recording = a_recording("shared", 9)
    frames = [put_frame(lake, recording, index) for index in range(3)]
    both = [a_box(x=5), a_box(label="impurity", x=30)]
    annotations = [
        an_annotation(frames[0], both, 1, annotator="eva"),
        an_annotation(frames[0], [a_box(x=5), a_box(x=20), a_box(label="impurity", x=50)], 2, annotator="bob"),
        an_annotation(frames[1], [a_box(x=5)], 3, annotator="eva"),
        an_annotation(frames[1], [a_box(x=40)], 4, minutes=1, annotator="bob"),
        an_annotation(frames[1], [a_box(x=6)], 5, minutes=2, annotator="bob"),
        an_annotation(frames[2], [a_box(x=5)], 6, annotator="eva"),
    ]
    fill(lake, [recording], frames, annotations)
    found = validate(lake, a_line(), DETECTION)
    result = json.loads(lake.blobs.get_bytes(found.result_oid))
    assert result["agreement"] == [
        {
            "annotators": ["bob", "eva"],
            "frames": 2,
            "f1": pytest.approx(2 * 2 / 7),
            "per_class": {"sperm": pytest.approx(2 * 2 / 5), "impurity": 0.0},
        }
    ]
    html = lake.blobs.get_bytes(found.report_oid).decode()
    assert "How far people agree" in html
    assert "<td>bob and eva</td>" in html
    assert '<td class="n">0.80</td><td class="n">0.00</td>' in html


def test_the_lines_choice_survives_a_runs_changes_and_refuses_what_it_does_not_know() -> None:
    line = a_line(**PREFER)
    assert line.with_changes({"seed": 3}).annotators == line.annotators
    assert AnnotatorChoice().model_dump(by_alias=True) == {"prefer": (), "else": "newest"}
    with pytest.raises(ConfigError, match=r"annotators\.else"):
        parse_line(a_line().model_dump(by_alias=True, mode="json") | {"annotators": {"else": "loudest"}}, "test")
