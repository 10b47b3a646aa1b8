"""What cannot be read of an annotation takes the annotation with it, and nothing else."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import httpx
import pytest

from tasks.config import LabelStudioSettings, Line
from tasks.kinds import kind_of
from tasks.labeling import client as door
from tasks.labeling import state as states
from tasks.labeling.client import LabelStudio
from tasks.labeling.sync import sync
from tasks.lake import Lake
from tasks.lake.quarantine import listed
from tasks.schemas import MAX_OBJECTS, Annotation, QuarantineItem
from tasks.validation.validate import validate
from tests.labeling.annotators import Annotator, box, film, labeling_tasks, regions

DETECTION = kind_of("detection")


@pytest.fixture
def annotator(label_studio: LabelStudioSettings) -> Annotator:
    return Annotator(label_studio)


def region(kind: str, place: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A region of our control, as Label Studio writes it."""
    whole = {"id": "r1", "from_name": "label", "to_name": "image", "type": kind, "image_rotation": 0}
    return whole | {"original_width": 698, "original_height": 528, "value": place} | fields


RECTANGLE = {"x": 10, "y": 40, "width": 10, "height": 10, "rotation": 0, "rectanglelabels": ["sperm"]}
ELLIPSE = {"x": 30, "y": 40, "radiusX": 5, "radiusY": 5, "rotation": 0, "ellipselabels": ["sperm"]}
BRUSH = {"format": "rle", "rle": [0, 1, 2], "brushlabels": ["sperm"]}
OUTLINE = {"points": [[1, 1], [9, 1], [5, 9]], "closed": True, "polygonlabels": ["sperm"]}

UNFIT = {
    "an ellipse": (region("ellipselabels", ELLIPSE), "of type 'ellipselabels'"),
    "a turned view": (region("rectanglelabels", RECTANGLE, image_rotation=90), "turned by 90 degrees"),
    "an outline": (region("polygonlabels", OUTLINE), "of type 'polygonlabels'"),
    "a brush": (region("brushlabels", BRUSH), "of type 'brushlabels'"),
    "a type that nobody knows": (region("hologramlabels", {"hologramlabels": ["sperm"]}), "'hologramlabels'"),
    "another picture": (region("rectanglelabels", RECTANGLE, original_width=1396), "1396x528 px"),
    "a missing place": (region("rectanglelabels", {"rectanglelabels": ["sperm"]}), "no number: x None"),
    "a number in quotes": (region("rectanglelabels", RECTANGLE | {"x": "10"}), "no number: x '10'"),
    "far away": (region("rectanglelabels", RECTANGLE | {"x": 1e300}), "far outside"),
}


def unread_items(lake: Lake, line: Line) -> list[QuarantineItem]:
    return [item for item in listed(lake, line.line) if "work_is_read_whole" in item.details.get("checks", [])]


def revisions(lake: Lake, line: Line) -> list[Annotation]:
    return lake.tables.rows("annotations", Annotation, {"line": line.line})


def test_each_kind_of_unfit_region_takes_its_annotation_and_no_other(
    lake: Lake, line: Line, client: LabelStudio, annotator: Annotator, label_studio: LabelStudioSettings
) -> None:
    film(lake, line, frames=2 * len(UNFIT) + 1, of=100)
    sync(lake, line, DETECTION)
    tasks = labeling_tasks(client, line)
    for number, (unfit, _) in enumerate(UNFIT.values()):
        annotator.submit(tasks[2 * number], [unfit])
        annotator.submit(tasks[2 * number + 1], [*regions(box(10, 10)), unfit])
    annotator.draw(tasks[2 * len(UNFIT)], box(10, 10))
    report = sync(lake, line, DETECTION)
    assert (report.revisions, report.quarantined) == (2 * len(UNFIT) + 1, 2 * len(UNFIT))
    by_frame = {item.subject: item for item in unread_items(lake, line)}
    for number, (_, reason) in enumerate(UNFIT.values()):
        for frame in (2 * number, 2 * number + 1):
            item = by_frame[f"S_0001.mp4 frame {frame}"]
            assert (item.what, item.annotator) == ("annotation", label_studio.username)
            assert reason in item.reason
    found = validate(lake, line, DETECTION)
    assert found.accepted.column("frame_index").to_pylist() == [2 * len(UNFIT)]
    assert len(unread_items(lake, line)) == 2 * len(UNFIT), "validation sets the very same aside"
    assert sync(lake, line, DETECTION).quarantined == 0


def test_what_is_mended_comes_back(lake: Lake, line: Line, client: LabelStudio, annotator: Annotator) -> None:
    film(lake, line, frames=1)
    sync(lake, line, DETECTION)
    annotation = annotator.submit(labeling_tasks(client, line)[0], [region("ellipselabels", ELLIPSE)])
    sync(lake, line, DETECTION)
    assert validate(lake, line, DETECTION).accepted.num_rows == 0
    annotator.redraw(annotation, box(10, 10))
    assert sync(lake, line, DETECTION).revisions == 1
    (row,) = validate(lake, line, DETECTION).accepted.to_pylist()
    assert json.loads(row["objects"]) == [box(10, 10)]


def test_answers_to_the_labs_own_questions_are_no_bad_objects(
    lake: Lake, line: Line, client: LabelStudio, annotator: Annotator
) -> None:
    film(lake, line, frames=2)
    project = sync(lake, line, DETECTION).project_id
    found = client.project(project)
    assert found is not None
    more = """<Choices name="quality" toName="image"><Choice value="sharp"/><Choice value="sperm"/></Choices>
      <TextArea name="note" toName="image"/><Rating name="stars" toName="image"/><Number name="many" toName="image"/>
      <EllipseLabels name="zone" toName="image"><Label value="blurred"/></EllipseLabels></View>"""
    annotator.configure(project, found.label_config.replace("</View>", more))
    answers = [
        {"id": "q", "type": "choices", "from_name": "quality", "to_name": "image", "value": {"choices": ["sperm"]}},
        {"id": "n", "type": "textarea", "from_name": "note", "to_name": "image", "value": {"text": ["look\u202e!"]}},
        {"id": "s", "type": "rating", "from_name": "stars", "to_name": "image", "value": {"rating": 4}},
        {"id": "m", "type": "number", "from_name": "many", "to_name": "image", "value": {"number": 4}},
        region("ellipselabels", ELLIPSE | {"ellipselabels": ["blurred"]}, from_name="zone", id="z"),
        {"type": "relation", "from_id": "r.0", "to_id": "r.1", "direction": "right"},
    ]
    tasks = labeling_tasks(client, line)
    annotator.submit(tasks[0], [*regions(box(10, 10), box(50, 50)), *answers])
    # Our class drawn with the lab's control is an object that we cannot read.
    annotator.submit(tasks[1], [*regions(box(10, 10)), region("ellipselabels", ELLIPSE, from_name="zone")])
    report = sync(lake, line, DETECTION)
    assert (report.revisions, report.quarantined) == (2, 1)
    rows = {row.frame_index: row for row in revisions(lake, line)}
    assert (rows[0].unread, list(rows[0].objects)) == (None, [box(10, 10), box(50, 50)])
    assert "was drawn with the control 'zone'" in str(rows[1].unread)


def rectangle(place: str) -> str:
    return f'[{{"id": "x", "type": "rectanglelabels", "from_name": "label", "to_name": "image", "value": {place}}}]'


@pytest.mark.parametrize(
    "damaged",
    [
        rectangle('{"x": 1e400, "y": 1, "width": 5, "height": 5, "rectanglelabels": ["sperm"]}'),
        rectangle('{"x": ' + "[" * 200 + "]" * 200 + ', "rectanglelabels": ["sperm"]}'),
        rectangle('{"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": ["sp\\u001b[31m\\ud800erm"]}'),
        "{}",
        "null",
    ],
    ids=["1e400", "deep", "control characters", "no list", "nothing"],
)
def test_damage_keeps_no_other_annotation_from_being_read(
    lake: Lake, line: Line, client: LabelStudio, annotator: Annotator, damaged: str
) -> None:
    film(lake, line, frames=3)
    sync(lake, line, DETECTION)
    tasks = labeling_tasks(client, line)
    # Some of it this server refuses (400 or 500): then there is nothing that could be read.
    with suppress(httpx.HTTPStatusError):
        annotator.submit_text(tasks[1], damaged)
    annotator.draw(tasks[0], box(10, 10))
    annotator.draw(tasks[2], box(10, 10))
    sync(lake, line, DETECTION)
    assert sorted(validate(lake, line, DETECTION).accepted.column("frame_index").to_pylist()) == [0, 2]
    assert all("\x1b" not in str(item) for item in listed(lake, line.line))


def test_more_objects_than_anybody_draws(lake: Lake, line: Line, client: LabelStudio, annotator: Annotator) -> None:
    film(lake, line, frames=2)
    sync(lake, line, DETECTION)
    tasks = labeling_tasks(client, line)
    annotator.draw(tasks[0], *(box(i % 600, i // 600, side_px=5) for i in range(MAX_OBJECTS + 1)))
    annotator.draw(tasks[1], box(10, 10))
    assert sync(lake, line, DETECTION).quarantined == 1
    (item,) = unread_items(lake, line)
    assert f"more than {MAX_OBJECTS} objects" in item.reason
    assert validate(lake, line, DETECTION).accepted.column("frame_index").to_pylist() == [1]


def test_an_answer_too_large_to_read_is_looked_at_again(
    lake: Lake, line: Line, client: LabelStudio, annotator: Annotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(lake, line, frames=3)
    sync(lake, line, DETECTION)
    tasks = labeling_tasks(client, line)
    annotator.draw(tasks[0], box(10, 10))
    annotator.draw(tasks[1], *(box(i, i) for i in range(100)))
    annotator.draw(tasks[1], box(30, 30))
    with monkeypatch.context() as patched:
        patched.setattr(door, "MAX_ANSWER_BYTES", 8000)
        report = sync(lake, line, DETECTION)
    assert (report.revisions, report.quarantined) == (3, 1)
    unread = {len(row.objects): row.unread for row in revisions(lake, line)}
    assert sorted(unread) == [0, 1]
    assert "larger than" in str(unread[0])
    assert sync(lake, line, DETECTION).revisions == 1, "it can be read now"
    assert len(revisions(lake, line)[-1].objects) == 100


def test_what_an_earlier_version_misread_is_read_again_once(
    lake: Lake, line: Line, client: LabelStudio, annotator: Annotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(lake, line, frames=1)
    sync(lake, line, DETECTION)
    annotator.submit(labeling_tasks(client, line)[0], [region("ellipselabels", ELLIPSE)])
    with monkeypatch.context() as patched:
        patched.setattr("tasks.labeling.pull_annotations.unread", lambda faults: None)
        sync(lake, line, DETECTION)
    known = states.load(lake, line.line)
    known.reading = 1
    states.save(lake, line.line, known)
    assert [row.unread for row in revisions(lake, line)] == [None]
    assert [sync(lake, line, DETECTION).revisions for _ in range(2)] == [1, 0]
    assert revisions(lake, line)[-1].unread


def test_ground_truth_is_seen_and_no_other_news(
    lake: Lake, line: Line, client: LabelStudio, annotator: Annotator
) -> None:
    film(lake, line, frames=1)
    sync(lake, line, DETECTION)
    task = labeling_tasks(client, line)[0]
    first, second = annotator.draw(task, box(10, 10)), annotator.draw(task, box(50, 50))
    sync(lake, line, DETECTION)
    annotator.change(first, ground_truth=True)
    assert sync(lake, line, DETECTION).revisions == 1
    (row,) = validate(lake, line, DETECTION).accepted.to_pylist()
    assert row["annotation_id"].endswith(f"-{first}")
    annotator.change(second, ground_truth=True)
    assert sync(lake, line, DETECTION).revisions == 2, "a frame has one ground truth"
    (row,) = validate(lake, line, DETECTION).accepted.to_pylist()
    assert row["annotation_id"].endswith(f"-{second}")
