"""Keep a line's Label Studio project and the lake in step; re-running it changes nothing.

Order of writes: labeling tasks, then revisions, then the state with its watermark. Killed anywhere, the next sync finds
the labeling tasks in Label Studio and the revisions in the table, and carries on.
"""

from __future__ import annotations

import logging
from datetime import datetime

from tasks.config import Line
from tasks.kind import Kind
from tasks.labeling import state as states
from tasks.labeling.client import LabelStudio
from tasks.labeling.label_config import wanted_labels
from tasks.labeling.projects import ensure_project, move_images
from tasks.labeling.pull_annotations import pull_annotations
from tasks.labeling.push_tasks import place_new, refresh, remove_doubles
from tasks.lake import Lake
from tasks.lake.conditional import look
from tasks.lake.locks import lake_lock
from tasks.schemas import Frozen

log = logging.getLogger(__name__)


class SyncReport(Frozen):
    """What a sync did.

    Attributes:
        project_url: Where annotators find the project.
        tasks_created: Labeling tasks made for new frames.
        tasks_removed: Labeling tasks that people had removed.
        revisions: Revisions appended, of whatever state.
        deleted: Of these, annotations that are gone.
        cancelled: Of these, annotations that were skipped.
        quarantined: Annotations newly set aside, because a part of them could not be read.
        watermark: Label Studio's clock up to which changes are known.
        notes: What a person should know or do, a sentence each.
    """

    project_id: int
    project_url: str
    tasks_created: int
    tasks_removed: int
    revisions: int
    deleted: int
    cancelled: int
    quarantined: int
    watermark: datetime
    notes: tuple[str, ...] = ()


def sync(lake: Lake, line: Line, kind: Kind) -> SyncReport:
    """Put the line's new frames before the annotators, and append what the annotators changed to the lake.

    Args:
        lake: The lake.
        line: The model line; its project is made if there is none.
        kind: Of the line.

    Raises:
        ServiceUnavailable: Label Studio does not answer.
        ConfigError: Label Studio refuses our token or cannot reach the lake.
    """
    with lake_lock(lake.settings, f"labels-{line.line}"), LabelStudio(lake.settings.label_studio) as client:
        seen = look(lake, states.key_of(line.line))
        state = states.load(lake, line.line)
        project = ensure_project(client, line, state.project_id, state.shown, kind=kind)
        if state.project_id != project.project_id:
            state = states.SyncState(project_id=project.project_id)
        move_images(client, project, lake)
        shown = state.shown if project.refused else wanted_labels(line)
        if project.refused:
            log.warning("%s", project.refused)
        # Read before anything is looked at: what changes from here on is looked at again next time.
        frames_snapshot = lake.tables.snapshot_id("frames")
        changes = refresh(client, project, state)
        unsettled = state.again if state.reading == states.READING else state.tasks.keys()
        changes.changed |= unsettled & state.tasks.keys()
        created = 0
        if changes.changed or changes.removed or changes.listed or frames_snapshot != state.frames_snapshot:
            remove_doubles(client, state)
            created = place_new(client, project, lake, line, state)
        pulled = pull_annotations(client, project, lake, line, kind, state, changes)
        learned = (shown, pulled.again, states.READING) != (state.shown, state.again, state.reading)
        first = state.watermark is None
        if first or created or changes.listed or learned or frames_snapshot != state.frames_snapshot:
            # A watermark that stands still keeps an idle line free of writes.
            state.watermark, state.frames_snapshot = project.as_of, frames_snapshot
            state.shown, state.again, state.reading = shown, pulled.again, states.READING
            states.save(lake, line.line, state, seen)
        return SyncReport(
            project_id=project.project_id,
            project_url=f"{client.url}/projects/{project.project_id}",
            tasks_created=created,
            tasks_removed=len(changes.removed),
            revisions=pulled.revisions,
            deleted=pulled.deleted,
            cancelled=pulled.cancelled,
            quarantined=pulled.quarantined,
            watermark=state.watermark or project.as_of,
            notes=(project.refused,) if project.refused else (),
        )
