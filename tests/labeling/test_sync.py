from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tasks.config import LabelStudioSettings, Line
from tasks.errors import ConfigError, ServiceUnavailable
from tasks.kinds import kind_of
from tasks.labeling import pull_annotations, push_tasks, state
from tasks.labeling.client import LabelStudio
from tasks.labeling.sync import sync
from tasks.lake import Lake, open_lake
from tasks.schemas import Annotation, Frame
from tests.labeling.annotators import Annotator, box, film, labeling_tasks, project_of, take_frames

DETECTION = kind_of("detection")


@pytest.fixture
def annotator(label_studio: LabelStudioSettings) -> Annotator:
    return Annotator(label_studio)


def revisions(lake: Lake, line: Line) -> list[Annotation]:
    return lake.tables.rows("annotations", Annotation, {"line": line.line})


def test_frames_become_labeling_tasks_once(lake: Lake, line: Line, client: LabelStudio) -> None:
    recording = film(lake, line, frames=3)
    first = sync(lake, line, DETECTION)
    again = sync(lake, line, DETECTION)
    assert (first.tasks_created, again.tasks_created) == (3, 0)
    tasks = labeling_tasks(client, line)
    assert sorted(tasks) == [0, 1, 2]
    frame = lake.tables.rows("frames", Frame, {"line": line.line})[0]
    data = next(head.data for head in client.task_heads(first.project_id) if head.data["frame_index"] == 0)
    assert data["image"] == lake.frames.uri(frame.oid)
    assert (data["recording"], data["recording_id"]) == (recording.name, recording.recording_id)
    assert (data["frame_oid"], data["pts_s"]) == (frame.oid, 0.0)


def test_more_frames_than_fit_in_one_call(
    lake: Lake, line: Line, client: LabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_tasks, "BATCH", 2)
    recording = film(lake, line, frames=5)
    assert sync(lake, line, DETECTION).tasks_created == 5
    take_frames(lake, recording, line.line, [7])
    assert sync(lake, line, DETECTION).tasks_created == 1
    assert sorted(labeling_tasks(client, line)) == [0, 1, 2, 3, 4, 7]


def test_killed_between_import_and_state_makes_no_doubles(
    lake: Lake, line: Line, client: LabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(lake, line, frames=3)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(state, "save", killed)
        sync(lake, line, DETECTION)
    assert sync(lake, line, DETECTION).tasks_created == 0
    assert sorted(labeling_tasks(client, line)) == [0, 1, 2]


def test_a_double_that_nobody_worked_on_is_removed(
    lake: Lake, line: Line, client: LabelStudio, annotator: Annotator
) -> None:
    film(lake, line, frames=2)
    report = sync(lake, line, DETECTION)
    heads = list(client.task_heads(report.project_id))
    doubles = client.import_tasks(report.project_id, [{"data": head.data} for head in heads])
    annotator.draw(doubles[0], box(1, 1))
    again = sync(lake, line, DETECTION)
    assert again.revisions == 1
    tasks = labeling_tasks(client, line)
    assert tasks == {0: doubles[0], 1: heads[1].task_id}


def test_annotations_come_back_in_pixels_and_only_once(
    lake: Lake, line: Line, client: LabelStudio, annotator: Annotator, label_studio: LabelStudioSettings
) -> None:
    recording = film(lake, line, frames=2)
    sync(lake, line, DETECTION)
    drawn = (box(101.123456, 33.3), box(0.0, 0.0, "impurity", 7.77))
    annotator.draw(labeling_tasks(client, line)[1], *drawn)
    report = sync(lake, line, DETECTION)
    assert (report.revisions, report.deleted, report.cancelled) == (1, 0, 0)
    (row,) = revisions(lake, line)
    assert row.objects == drawn
    assert (row.state, row.annotator, row.frame_index) == ("active", label_studio.username, 1)
    assert row.recording_id == recording.recording_id
    assert row.frame_oid == lake.tables.rows("frames", Frame, {"line": line.line, "frame_index": 1})[0].oid
    assert [sync(lake, line, DETECTION).revisions for _ in range(2)] == [0, 0]
    assert revisions(lake, line) == [row]


def test_the_whole_life_of_an_annotation(lake: Lake, line: Line, client: LabelStudio, annotator: Annotator) -> None:
    film(lake, line, frames=1)
    sync(lake, line, DETECTION)
    task = labeling_tasks(client, line)[0]
    annotation = annotator.draw(task, box(10, 10))
    sync(lake, line, DETECTION)
    annotator.redraw(annotation, box(10, 10), box(50, 50))
    assert sync(lake, line, DETECTION).revisions == 1
    annotator.redraw(annotation, box(10, 10))
    assert sync(lake, line, DETECTION).revisions == 1
    annotator.redraw(annotation, box(10, 10), was_cancelled=True)
    assert sync(lake, line, DETECTION).cancelled == 1
    annotator.erase(annotation)
    assert sync(lake, line, DETECTION).deleted == 1
    assert sync(lake, line, DETECTION).revisions == 0
    rows = revisions(lake, line)
    assert [(row.state, len(row.objects)) for row in rows] == [
        ("active", 1), ("active", 2), ("active", 1), ("cancelled", 1), ("deleted", 0),
    ]  # fmt: skip
    assert rows[0].revision_id == rows[2].revision_id != rows[1].revision_id
    assert len({row.annotation_id for row in rows}) == 1
    assert [row.updated_at for row in rows] == sorted(row.updated_at for row in rows)


def test_bulk_deletion_and_removed_labeling_tasks(
    lake: Lake, line: Line, client: LabelStudio, annotator: Annotator
) -> None:
    film(lake, line, frames=4)
    sync(lake, line, DETECTION)
    tasks = labeling_tasks(client, line)
    for task in tasks.values():
        annotator.draw(task, box(10, 10))
    assert sync(lake, line, DETECTION).revisions == 4
    annotator.erase_all(project_of(client, line), [tasks[0], tasks[1]])
    annotator.remove_task(tasks[2])
    report = sync(lake, line, DETECTION)
    assert (report.deleted, report.revisions, report.tasks_removed) == (3, 3, 1)
    newest = {row.frame_index: row.state for row in revisions(lake, line)}
    assert newest == {0: "deleted", 1: "deleted", 2: "deleted", 3: "active"}
    again = sync(lake, line, DETECTION)
    assert (again.tasks_created, again.revisions) == (0, 0), "a removed labeling task is not offered again"
    assert sorted(labeling_tasks(client, line)) == [0, 1, 3]


def test_all_labeling_tasks_removed(lake: Lake, line: Line, client: LabelStudio, annotator: Annotator) -> None:
    film(lake, line, frames=2)
    project = sync(lake, line, DETECTION).project_id
    annotator.draw(labeling_tasks(client, line)[0], box(10, 10))
    sync(lake, line, DETECTION)
    annotator.erase_all(project, list(labeling_tasks(client, line).values()), "delete_tasks")
    assert sync(lake, line, DETECTION).deleted == 1
    assert sync(lake, line, DETECTION).tasks_created == 0


def test_several_annotators_skips_and_drafts(lake: Lake, line: Line, client: LabelStudio, annotator: Annotator) -> None:
    film(lake, line, frames=3)
    sync(lake, line, DETECTION)
    tasks = labeling_tasks(client, line)
    annotator.draw(tasks[0], box(10, 10))
    annotator.draw(tasks[0], box(11, 11))
    annotator.draw(tasks[1], skip=True)
    annotator.keep_draft(tasks[2], box(5, 5))
    report = sync(lake, line, DETECTION)
    assert (report.revisions, report.cancelled) == (3, 1)
    assert sorted((row.frame_index, row.state) for row in revisions(lake, line)) == [
        (0, "active"), (0, "active"), (1, "cancelled"),
    ]  # fmt: skip


def test_killed_in_the_middle_of_a_pull(
    lake: Lake, line: Line, client: LabelStudio, annotator: Annotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(lake, line, frames=4)
    sync(lake, line, DETECTION)
    for task in labeling_tasks(client, line).values():
        annotator.draw(task, box(10, 10))
    append = type(lake.tables).append
    calls = []

    def dying(self: Any, table: str, *args: Any, **options: Any) -> int:
        calls.append(table)
        if calls.count("annotations") == 3:
            raise KeyboardInterrupt
        return append(self, table, *args, **options)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(pull_annotations, "_CHUNK", 1)
        patched.setattr(type(lake.tables), "append", dying)
        sync(lake, line, DETECTION)
    assert len(revisions(lake, line)) == 2
    assert sync(lake, line, DETECTION).revisions == 2
    assert len({row.annotation_id for row in revisions(lake, line)}) == len(revisions(lake, line)) == 4


def test_what_was_deleted_after_a_killed_pull(
    lake: Lake, line: Line, client: LabelStudio, annotator: Annotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(lake, line, frames=1)
    sync(lake, line, DETECTION)
    annotation = annotator.draw(labeling_tasks(client, line)[0], box(10, 10))

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(state, "save", killed)
        sync(lake, line, DETECTION)
    annotator.erase(annotation)
    assert sync(lake, line, DETECTION).deleted == 1


def test_a_lost_state_changes_nothing(lake: Lake, line: Line, client: LabelStudio, annotator: Annotator) -> None:
    film(lake, line, frames=2)
    sync(lake, line, DETECTION)
    annotator.draw(labeling_tasks(client, line)[0], box(10, 10))
    sync(lake, line, DETECTION)
    lake.store.put_bytes(f"labeling/{line.line}/state.json.gz", b"no gzip")
    report = sync(lake, line, DETECTION)
    assert (report.tasks_created, report.revisions) == (0, 0)
    assert len(revisions(lake, line)) == 1


def test_an_idle_line_is_left_alone(lake: Lake, line: Line, client: LabelStudio, annotator: Annotator) -> None:
    film(lake, line, frames=2)
    sync(lake, line, DETECTION)
    annotator.draw(labeling_tasks(client, line)[0], box(10, 10))
    sync(lake, line, DETECTION)
    # Everything so far lies behind the watermark, as it does after a day.
    known = state.load(lake, line.line)
    assert known.watermark is not None
    known.watermark += timedelta(hours=1)
    state.save(lake, line.line, known)
    before = {info.key: (info.etag, info.modified_at) for info in lake.store.list()}
    report = sync(lake, line, DETECTION)
    assert (report.tasks_created, report.revisions) == (0, 0)
    assert {info.key: (info.etag, info.modified_at) for info in lake.store.list()} == before


def test_foreign_labeling_tasks_are_nobodys_business(
    lake: Lake, line: Line, client: LabelStudio, annotator: Annotator
) -> None:
    film(lake, line, frames=1)
    project = sync(lake, line, DETECTION).project_id
    (foreign,) = client.import_tasks(project, [{"data": {"image": "https://example.org/cat.jpg"}}])
    annotator.draw(foreign, box(1, 1))
    report = sync(lake, line, DETECTION)
    assert (report.revisions, report.tasks_created) == (0, 0)
    assert sync(lake, line, DETECTION).revisions == 0


def test_classes_added_later_and_given_up(lake: Lake, line: Line, client: LabelStudio, annotator: Annotator) -> None:
    film(lake, line, frames=1)
    project = sync(lake, line, DETECTION).project_id
    annotator.draw(labeling_tasks(client, line)[0], box(10, 10, "impurity"))
    changed = line.model_copy(update={"classes": {"sperm": line.classes["sperm"], "cell": line.classes["impurity"]}})
    assert sync(lake, changed, DETECTION).project_id == project
    found = client.project(project)
    assert found is not None
    assert re.findall(r'value="(\w+)"', found.label_config) == ["sperm", "cell", "impurity"]


def test_a_renamed_project_is_found_again(
    lake: Lake, line: Line, client: LabelStudio, label_studio: LabelStudioSettings
) -> None:
    film(lake, line, frames=1)
    project = sync(lake, line, DETECTION).project_id
    headers = {"Authorization": f"Token {label_studio.token.get_secret_value()}"}
    url = f"{label_studio.url}/api/projects/{project}/"
    httpx.patch(url, json={"title": "Sonja's corner"}, headers=headers).raise_for_status()
    lake.store.remove(f"labeling/{line.line}/state.json.gz")
    assert sync(lake, line, DETECTION).project_id == project
    assert project_of(client, line) == project


def test_a_browser_gets_the_very_frame(
    lake: Lake, line: Line, client: LabelStudio, label_studio: LabelStudioSettings
) -> None:
    film(lake, line, frames=1)
    sync(lake, line, DETECTION)
    task = labeling_tasks(client, line)[0]
    frame = lake.tables.rows("frames", Frame, {"line": line.line})[0]
    with httpx.Client(base_url=label_studio.url, follow_redirects=True) as browser:
        browser.get("/user/login/").raise_for_status()
        form = {
            "email": label_studio.username,
            "password": label_studio.password.get_secret_value(),
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
        }
        browser.post("/user/login/", data=form, headers={"Referer": label_studio.url}).raise_for_status()
        assert "sessionid" in browser.cookies
        shown = browser.get(f"/api/tasks/{task}/").json()["data"]["image"]
        image = browser.get(shown)
    assert image.history, "the image is a redirect to a presigned URL"
    assert str(image.url).startswith(lake.settings.s3.endpoint)
    assert hashlib.sha256(image.content).hexdigest() == frame.oid
    with httpx.Client(base_url=label_studio.url) as stranger:
        assert stranger.get(shown).status_code in (401, 403, 302)


def test_a_wrong_token(lake: Lake, line: Line) -> None:
    wrong = lake.settings.label_studio.model_copy(update={"token": SecretStr("f" * 40)})
    other = open_lake(lake.settings.model_copy(update={"label_studio": wrong}))
    with pytest.raises(ConfigError, match="refuses our access token") as caught:
        sync(other, line, DETECTION)
    assert "f" * 40 not in str(caught.value)


def test_label_studio_is_down(lake: Lake, line: Line, unused_url: str) -> None:
    down = lake.settings.label_studio.model_copy(update={"url": unused_url})
    other = open_lake(lake.settings.model_copy(update={"label_studio": down}))
    with pytest.raises(ServiceUnavailable, match="does not answer"):
        sync(other, line, DETECTION)


def test_label_studio_is_not_configured(lake: Lake, line: Line) -> None:
    other = open_lake(lake.settings.model_copy(update={"label_studio": LabelStudioSettings()}))
    with pytest.raises(ConfigError, match="NIGHTSCOPE_LABEL_STUDIO__URL"):
        sync(other, line, DETECTION)
