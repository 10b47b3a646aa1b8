"""Labeling tasks of an older release, whose images lay in the lake's bucket, move to the frames' bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tasks.config import LabelStudioSettings, Line
from tasks.kinds import kind_of
from tasks.labeling.client import LabelStudio
from tasks.labeling.projects import ensure_storage, move_images
from tasks.labeling.sync import sync
from tasks.lake import Lake
from tasks.schemas import Annotation
from tests.labeling.annotators import Annotator, box, film, labeling_tasks, project_of

DETECTION = kind_of("detection")

FRAMES = 3


class Killed(BaseException):
    """What a killed process does: nothing more."""


@pytest.fixture
def old_project(lake: Lake, line: Line, client: LabelStudio, label_studio: LabelStudioSettings) -> int:
    """A project as the release before left it: images, and their storage, in the bucket that holds everything."""
    film(lake, line, frames=FRAMES)
    project_id = sync(lake, line, DETECTION).project_id
    Annotator(label_studio).draw(labeling_tasks(client, line)[0], box(10, 10), box(50, 60, "impurity"))
    client.create_s3_storage(
        project_id, title="Nightscope frames", bucket=lake.store.bucket, region_name="us-east-1", regex_filter="(?!)",
        use_blob_urls=True, presign=True, presign_ttl=15,
    )  # fmt: skip
    for storage in client.s3_storages(project_id):
        if storage["bucket"] == lake.frames.store.bucket:
            client.delete_s3_storage(storage["id"])
    for head in client.task_heads(project_id):
        client.change_task_data(head.task_id, head.data | {"image": lake.blobs.uri(head.data["frame_oid"])})
        lake.frames.withdraw(head.data["frame_oid"])
    assert not list(lake.frames.published())
    return project_id


def _assert_moved(client: LabelStudio, lake: Lake, line: Line, tasks: dict[int, int]) -> None:
    assert labeling_tasks(client, line) == tasks, "the same labeling tasks"
    project_id = project_of(client, line)
    assert [each["bucket"] for each in client.s3_storages(project_id)] == [lake.frames.store.bucket]
    heads = list(client.task_heads(project_id))
    assert {head.data["image"] for head in heads} == {lake.frames.uri(head.data["frame_oid"]) for head in heads}
    assert {oid for oid, _ in lake.frames.published()} == {head.data["frame_oid"] for head in heads}
    (work,) = client.task_work(project_id, [tasks[0]])
    assert len(work.work) == 1, "the annotation stays"


def test_the_next_sync_moves_images_and_keeps_annotations(
    lake: Lake, line: Line, client: LabelStudio, old_project: int
) -> None:
    tasks = labeling_tasks(client, line)

    done = sync(lake, line, DETECTION)

    assert (done.project_id, done.tasks_created) == (old_project, 0)
    _assert_moved(client, lake, line, tasks)
    (drawn,) = lake.tables.rows("annotations", Annotation, {"line": line.line})
    assert len(drawn.objects) == 2
    project = client.project(old_project)
    assert project is not None and move_images(client, project, lake) == 0, "once"


@pytest.mark.parametrize("calls", [0, 1, FRAMES])
def test_killed_in_the_middle_it_goes_on(
    lake: Lake, line: Line, client: LabelStudio, old_project: int, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    tasks, project = labeling_tasks(client, line), client.project(old_project)
    assert project is not None
    left: Iterator[int] = iter(range(calls))
    change = client.change_task_data

    def dies(*given: object) -> None:
        if next(left, None) is None:
            raise Killed
        change(*given)  # type: ignore[arg-type]

    def dies_at_the_end(storage_id: int) -> None:
        raise Killed

    monkeypatch.setattr(client, "change_task_data", dies)
    monkeypatch.setattr(client, "delete_s3_storage", dies_at_the_end)
    with pytest.raises(Killed):
        move_images(client, project, lake)
    monkeypatch.undo()
    assert lake.store.bucket in [each["bucket"] for each in client.s3_storages(old_project)], "it marks what is left"

    sync(lake, line, DETECTION)

    _assert_moved(client, lake, line, tasks)


def test_what_a_person_put_there_stops_nobody(lake: Lake, line: Line, client: LabelStudio, old_project: int) -> None:
    """Labeling tasks of people know no frame of ours, or one that the lake never had, or name a recording."""
    missing, recording = "f" * 64, lake.blobs.put_bytes(b"a recording of a patient")
    strange = [{"image": lake.blobs.uri(missing)}, {"image": lake.blobs.uri(missing), "frame_oid": missing},
               {"image": lake.blobs.uri(missing), "frame_oid": 7},
               {"image": lake.blobs.uri(recording), "frame_oid": recording}]  # fmt: skip
    client.import_tasks(old_project, [{"data": each} for each in strange])
    project = client.project(old_project)
    assert project is not None

    assert move_images(client, project, lake) == FRAMES

    images = sorted(str(head.data["image"]) for head in client.task_heads(old_project))
    assert len([each for each in images if each.startswith(f"s3://{lake.frames.store.bucket}/")]) == FRAMES
    assert images.count(lake.blobs.uri(missing)) == len(strange) - 1
    assert lake.frames.store.head(lake.frames.key(recording)) is None, "nobody has a recording shown to annotators"
    assert [each["bucket"] for each in client.s3_storages(old_project)] == [lake.frames.store.bucket]


def test_a_moved_image_is_shown_by_an_address_that_is_good_for_minutes(
    lake: Lake, line: Line, client: LabelStudio, label_studio: LabelStudioSettings, old_project: int
) -> None:
    sync(lake, line, DETECTION)
    head = next(iter(client.task_heads(old_project)))
    token = {"Authorization": f"Token {label_studio.token.get_secret_value()}"}
    with httpx.Client(base_url=label_studio.url, headers=token, timeout=60) as browser:
        shown = browser.get(f"/api/tasks/{head.task_id}/").json()["data"]["image"]
        away = browser.get(shown).headers["location"]
    query = parse_qs(urlsplit(away).query)

    assert urlsplit(away).path == f"/{lake.frames.store.bucket}/{lake.frames.key(head.data['frame_oid'])}"
    assert int(query["X-Amz-Expires"][0]) == 600, "ten minutes"
    assert hashlib.sha256(httpx.get(away).content).hexdigest() == head.data["frame_oid"]
    assert httpx.get(away.replace("X-Amz-Expires=600", "X-Amz-Expires=604800")).status_code in (400, 403)
    project = client.project(old_project)
    assert project is not None
    ensure_storage(client, project, lake)
    assert len(client.s3_storages(old_project)) == 1, "it is connected once"
