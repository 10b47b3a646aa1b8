"""An erased donor's frames leave Label Studio, and the next sync does not bring them back."""

from __future__ import annotations

from tasks.config import Line
from tasks.evidence import erasure
from tasks.kinds import kind_of
from tasks.labeling.client import LabelStudio
from tasks.labeling.sync import sync
from tasks.lake import Lake
from tests.labeling.annotators import film, labeling_tasks

DETECTION = kind_of("detection")


def test_labeling_tasks_of_the_donor_go_and_stay_away(lake: Lake, line: Line, client: LabelStudio) -> None:
    film(lake, line, frames=3, name="mine.mp4", donor="Mara Quillfeather")
    other = film(lake, line, frames=2, name="other.mp4", donor="Otto Other")
    project = sync(lake, line, DETECTION).project_id
    assert len(list(client.task_heads(project))) == 5
    scope = erasure.scope_of(lake, "Mara Quillfeather")
    assert scope
    plan = erasure.make_plan(lake, scope, reason="consent withdrawn", by="os:1/me")
    assert plan.tasks == {line.line: 3} and plan.tombstone.counts["labeling tasks"] == 3
    erasure.carry_out(lake, None, scope, plan, lambda _: None)
    left = [head.data for head in client.task_heads(project)]
    assert {data["recording_id"] for data in left} == {other.recording_id} and len(left) == 2
    again = sync(lake, line, DETECTION)
    assert (again.tasks_created, again.tasks_removed, again.revisions) == (0, 0, 0)
    assert sorted(labeling_tasks(client, line)) == [0, 1]
