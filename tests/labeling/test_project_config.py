"""What a lab makes of its project's labeling interface stays, in the real Label Studio."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from tasks.config import LabelStudioSettings, Line
from tasks.kinds import kind_of
from tasks.labeling.client import LabelStudio
from tasks.labeling.label_config import labels
from tasks.labeling.sync import sync
from tasks.lake import Lake
from tests.labeling.annotators import Annotator, a_line, box, film, labeling_tasks, regions

DETECTION = kind_of("detection")

MORE = """<Header value="Ring every head, also blurred ones"/><Style>.lsf &gt; p { color: red }</Style>
  <Choices name="quality" toName="image" choice="single"><Choice value="sharp"/><Choice value="blurred"/></Choices>
</View>"""
SHARP = {"id": "q", "type": "choices", "from_name": "quality", "to_name": "image", "value": {"choices": ["sharp"]}}


@pytest.fixture
def annotator(label_studio: LabelStudioSettings) -> Annotator:
    return Annotator(label_studio)


def config_of(client: LabelStudio, project: int) -> str:
    found = client.project(project)
    assert found is not None
    return found.label_config


def with_classes(line: Line, **classes: object) -> Line:
    return a_line(line.line, classes=classes, gates=[{"metric": "AP50", "at_least": 0.6}])


@pytest.mark.parametrize("used", [False, True])
def test_a_question_of_the_lab_stays_through_syncs_and_new_classes(
    lake: Lake, line: Line, client: LabelStudio, annotator: Annotator, used: bool
) -> None:
    film(lake, line, frames=2)
    project = sync(lake, line, DETECTION).project_id
    edited = config_of(client, project).replace("</View>", MORE).replace('hotkey="s"', 'hotkey="x"')
    annotator.configure(project, edited)
    stored = config_of(client, project)
    if used:
        annotator.submit(labeling_tasks(client, line)[0], [*regions(box(10, 10)), SHARP])
    report = sync(lake, line, DETECTION)
    assert (report.notes, report.revisions, report.quarantined) == ((), int(used), 0)
    assert config_of(client, project) == stored, "nothing to change, nothing changed"
    more = with_classes(line, sperm={"hotkey": "s", "color": "#111111"}, impurity={"hotkey": "i"}, cell={"hotkey": "c"})
    assert sync(lake, more, DETECTION).notes == ()
    root = ET.fromstring(config_of(client, project))
    assert labels(config_of(client, project), DETECTION) == ("sperm", "impurity", "cell")
    assert [entry.get("value") for entry in root.iter("Choice")] == ["sharp", "blurred"]
    assert root.find("Header") is not None
    assert ".lsf > p" in str(root.findtext("Style"))
    sperm = next(entry for entry in root.iter("Label") if entry.get("value") == "sperm")
    assert (sperm.get("hotkey"), sperm.get("background")) == ("x", "#111111"), "the lab's key, the line's new colour"
    assert sync(lake, more, DETECTION).notes == ()


def test_a_class_change_that_label_studio_refuses_is_said_and_the_sync_goes_on(
    lake: Lake, line: Line, client: LabelStudio, annotator: Annotator
) -> None:
    film(lake, line, frames=2)
    project = sync(lake, line, DETECTION).project_id
    before = config_of(client, project)
    tasks = labeling_tasks(client, line)
    # An answer to a question that the config does not have makes Label Studio refuse every change of the config.
    annotator.submit(tasks[0], [{**SHARP, "from_name": "ghost"}])
    annotator.draw(tasks[1], box(10, 10))
    film(lake, line, "S_0002.mp4", frames=1)
    more = with_classes(line, sperm={}, impurity={}, cell={})
    report = sync(lake, more, DETECTION)
    assert (report.revisions, report.tasks_created) == (2, 1)
    (note,) = report.notes
    assert "ghost" in note
    assert "to fix: open its Settings" in note
    assert config_of(client, project) == before
    assert sync(lake, more, DETECTION).notes == report.notes, "it is said until it is done"
    annotator.configure(
        project,
        before.replace("</View>", '<Choices name="ghost" toName="image"><Choice value="sharp"/></Choices></View>'),
    )
    assert sync(lake, more, DETECTION).notes == ()
    assert labels(config_of(client, project), DETECTION) == ("sperm", "impurity", "cell")


def test_a_renamed_control_is_still_ours(lake: Lake, line: Line, client: LabelStudio, annotator: Annotator) -> None:
    film(lake, line, frames=1)
    project = sync(lake, line, DETECTION).project_id
    renamed = config_of(client, project).replace('name="label"', 'name="heads"').replace('"image"', '"frame"')
    annotator.configure(
        project,
        renamed.replace(
            "</View>", '<RectangleLabels name="zones" toName="frame"><Label value="dirt"/></RectangleLabels></View>'
        ),
    )
    stored = config_of(client, project)
    answers = [{**each, "from_name": "heads", "to_name": "frame"} for each in regions(box(10, 10))]
    zone = {**regions(box(50, 50, "dirt"))[0], "id": "z", "from_name": "zones", "to_name": "frame"}
    annotator.submit(labeling_tasks(client, line)[0], [*answers, zone])
    report = sync(lake, line, DETECTION)
    assert (report.revisions, report.quarantined, report.notes) == (1, 0, ())
    assert config_of(client, project) == stored
