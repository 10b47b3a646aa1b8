"""Objects that a person only began, completed by a model: predictions of the real Label Studio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tasks.config import LabelStudioSettings, Line
from tasks.kind import Image, Object
from tasks.labeling.client import LabelStudio
from tasks.labeling.filling import FillReport, fill_objects
from tasks.labeling.sync import sync
from tasks.lake import Lake
from tasks.schemas import Annotation
from tests.labeling.annotators import DETECTION, HEIGHT_PX, WIDTH_PX, Annotator, box, film, labeling_tasks


@pytest.fixture
def asked() -> list[tuple[tuple[int, ...], int]]:
    """The shape of each image that the model was asked about, and how many objects."""
    return []


@pytest.fixture
def task_id(lake: Lake, line: Line, client: LabelStudio, label_studio: LabelStudioSettings) -> int:
    """A labeling task whose annotation has one whole object and two that were begun, the second of nothing."""
    film(lake, line, frames=2)
    sync(lake, line, DETECTION)
    task_id = labeling_tasks(client, line)[1]
    Annotator(label_studio).draw(task_id, box(10, 20), box(100, 100), box(300, 300))
    sync(lake, line, DETECTION)
    begin(lake, line, 1, 2)
    return task_id


def begin(lake: Lake, line: Line, *places: int) -> None:
    """As a kind reads it whose annotators may draw a box to be filled; the detection kind knows none."""
    row = lake.tables.rows("annotations", Annotation, {"line": line.line})[-1]
    objects = [dict(each) | ({"to_fill": True} if i in places else {}) for i, each in enumerate(row.objects)]
    lake.tables.append("annotations", [row.model_copy(update={"objects": tuple(objects), "revision_id": "b" * 64})])


def fill(lake: Lake, line: Line, asked: list[Any], version: str = "3") -> FillReport:
    def model(image: Image, objects: Sequence[Object]) -> list[Object]:
        asked.append((image.shape, len(objects)))
        return [each if each["x_px"] > 200 else {**box(each["x_px"] + 2, each["y_px"] + 2)} for each in objects]

    return fill_objects(lake, line, DETECTION, model, version)


def test_twice_is_once_and_what_people_drew_stays(
    lake: Lake, line: Line, client: LabelStudio, label_studio: LabelStudioSettings, task_id: int, asked: list[Any]
) -> None:
    (before,) = client.task_work(sync(lake, line, DETECTION).project_id, [task_id])
    Annotator(label_studio).suggest(task_id, "a lab's own")

    first = fill(lake, line, asked)
    assert (first.annotations, first.objects, first.filled, first.predictions) == (1, 2, 1, 1)
    assert asked == [((HEIGHT_PX, WIDTH_PX, 3), 2)]
    again = fill(lake, line, asked)
    assert (again.predictions, again.replaced, len(asked)) == (0, 0, 1), "the model is not even asked"

    own, other = sorted(
        Annotator(label_studio).suggestions(task_id), key=lambda each: each["model_version"] == "a lab's own"
    )
    assert other["model_version"] == "a lab's own"
    assert own["model_version"].startswith(f"{line.line} version 3, boxes of annotation ")
    places = [(round(each["value"]["x"] * WIDTH_PX / 100), each["type"]) for each in own["result"]]
    assert places == [(10, "rectanglelabels"), (102, "rectanglelabels"), (300, "rectanglelabels")]
    (after,) = client.task_work(sync(lake, line, DETECTION).project_id, [task_id])
    assert after.work == before.work


def test_a_newer_model_takes_the_older_ones_place(
    lake: Lake, line: Line, label_studio: LabelStudioSettings, task_id: int, asked: list[Any]
) -> None:
    fill(lake, line, asked)
    newer = fill(lake, line, asked, "4")
    assert (newer.predictions, newer.replaced) == (1, 1)
    (left,) = Annotator(label_studio).suggestions(task_id)
    assert "version 4," in left["model_version"]


def test_a_filled_annotation_asks_no_more(
    lake: Lake, line: Line, label_studio: LabelStudioSettings, task_id: int, asked: list[Any]
) -> None:
    rows = lake.tables.rows("annotations", Annotation, {"line": line.line})
    done = [{key: value for key, value in each.items() if key != "to_fill"} for each in rows[-1].objects]
    lake.tables.append("annotations", [rows[-1].model_copy(update={"objects": tuple(done), "revision_id": "c" * 64})])
    assert fill(lake, line, asked) == FillReport(model_version="3"), "its newest revision has nothing to fill"
    assert not asked and not Annotator(label_studio).suggestions(task_id)
