"""Frames become labeling tasks, each exactly once.

Whether a frame has its labeling task is read from Label Studio, never assumed from what we once sent: a sync that was
killed after an import finds its labeling tasks like any others. Should a frame have got two nevertheless (a request
that Label Studio finished after its sender had died), the one that nobody worked on is removed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tasks.config import Line
from tasks.escaping import marked
from tasks.labeling.answers import Project
from tasks.labeling.client import LabelStudio
from tasks.labeling.projects import ensure_storage
from tasks.labeling.state import FrameKey, KnownTask, SyncState, frame_of
from tasks.lake import Lake
from tasks.lake.quarantine import set_aside
from tasks.schemas import Frame, QuarantineItem

OVERLAP = timedelta(minutes=2)
"""How far before the watermark changes are looked for again: a change is stamped before it is committed."""

BATCH = 500
_LONGEST_NAME = 300
_FRAME_COLUMNS = ("recording_id", "frame_index", "oid", "pts_s", "width_px", "height_px")


@dataclass
class Changes:
    """What became of the labeling tasks since the last sync.

    Attributes:
        changed: Labeling tasks whose annotations may have changed.
        removed: Labeling tasks that are gone, as last known.
        listed: How many labeling tasks had to be looked at.
    """

    changed: set[int] = field(default_factory=set)
    removed: dict[int, KnownTask] = field(default_factory=dict)
    listed: int = 0


def refresh(client: LabelStudio, project: Project, state: SyncState) -> Changes:
    """Bring `state.tasks` up to what Label Studio holds, looking only at what changed wherever that is enough.

    Changes since the watermark show up by their time. What is gone cannot: it shows in the counts, and only then are
    all labeling tasks listed.
    """
    changes = Changes()
    if state.watermark is not None:
        for head in client.task_heads(project.project_id, state.watermark - OVERLAP):
            changes.listed += 1
            if state.see(head):
                changes.changed.add(head.task_id)
        if len(state.tasks) == project.labeling_tasks and project.annotations - state.annotations == state.drift:
            return changes
    before, state.tasks = state.tasks, {}
    for head in client.task_heads(project.project_id):
        changes.listed += 1
        if head.task_id in before:
            state.tasks[head.task_id] = before.pop(head.task_id)
        if state.see(head):
            changes.changed.add(head.task_id)
    state.drift = project.annotations - state.annotations
    changes.removed = before
    changes.changed -= before.keys()
    placed = state.placed()
    state.removed |= {task.frame for task in before.values() if task.frame is not None}
    state.removed -= placed.keys()
    return changes


def remove_doubles(client: LabelStudio, state: SyncState) -> list[int]:
    """Of several labeling tasks for one frame, remove those that nobody worked on; their ids."""
    by_frame: dict[FrameKey, list[int]] = defaultdict(list)
    for task_id in sorted(state.tasks):
        frame = state.tasks[task_id].frame
        if frame is not None:
            by_frame[frame].append(task_id)
    doomed = []
    for ids in by_frame.values():
        if len(ids) > 1:
            worked_on = [task_id for task_id in ids if state.tasks[task_id].annotations]
            keep = set(worked_on or ids[:1])
            doomed += [task_id for task_id in ids if task_id not in keep]
    for task_id in doomed:
        client.delete_task(task_id)
        del state.tasks[task_id]
    return doomed


def place_new(client: LabelStudio, project: Project, lake: Lake, line: Line, state: SyncState) -> int:
    """Make a labeling task for every frame of the line that has none; how many were made.

    A frame whose labeling task people removed is not offered again.
    """
    created = place(client, project, lake, unplaced(lake, line, state), state)
    if created:
        settle(client, project, state)
    return created


def settle(client: LabelStudio, project: Project, state: SyncState) -> None:
    """After an import: if there are more labeling tasks than we know, somebody else's import ended meanwhile."""
    after = client.project(project.project_id)
    if after is None or after.labeling_tasks == len(state.tasks):
        return
    for head in client.task_heads(project.project_id):
        if head.task_id not in state.tasks:
            state.tasks[head.task_id] = KnownTask(frame_of(head.data), "", head.annotations)
    remove_doubles(client, state)


def unplaced(lake: Lake, line: Line, state: SyncState) -> list[dict[str, Any]]:
    """The line's frames without a labeling task, in the order of recording and time; rows with `_FRAME_COLUMNS`."""
    rows = lake.tables.scan("frames", {"line": line.line}, _FRAME_COLUMNS).to_pylist()
    placed = state.placed()
    by_frame = {(row["recording_id"], row["frame_index"]): row for row in rows}
    return [row for frame, row in sorted(by_frame.items()) if frame not in placed and frame not in state.removed]


def place(
    client: LabelStudio,
    project: Project,
    lake: Lake,
    frames: Sequence[dict[str, Any]],
    state: SyncState,
    annotations: Mapping[FrameKey, list[dict[str, Any]]] | None = None,
) -> int:
    """Make labeling tasks for frames that have none.

    Args:
        client: Label Studio.
        project: The line's project.
        lake: Where the images are.
        frames: Rows of the frames table.
        state: Gains the new labeling tasks.
        annotations: Regions to import together with a frame.

    Returns:
        How many were made. A frame whose picture is missing or damaged is set aside, and gets none.
    """
    if not frames:
        return 0
    ensure_storage(client, project, lake)
    made, names = 0, _recordings(lake, {row["recording_id"] for row in frames})
    for start in range(0, len(frames), BATCH):
        rows = _with_pictures(lake, frames[start : start + BATCH], names)
        if not rows:
            continue
        made += len(rows)
        batch = [_labeling_task(lake, row, names.get(row["recording_id"], {}), annotations or {}) for row in rows]
        for task_id, row in zip(client.import_tasks(project.project_id, batch), rows, strict=True):
            state.tasks[task_id] = KnownTask((row["recording_id"], row["frame_index"]))
    return made


def _with_pictures(
    lake: Lake, rows: Sequence[dict[str, Any]], recordings: Mapping[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """The frames that annotators can be shown; the others go to quarantine, and keep none waiting."""
    faults = lake.frames.publish(row["oid"] for row in rows)
    bad = [row for row in rows if row["oid"] in faults]
    set_aside(
        lake,
        [
            QuarantineItem.of(
                "frame",
                f"{recordings.get(row['recording_id'], {}).get('name') or row['recording_id'][:12]} "
                f"frame {row['frame_index']}",
                f"its picture cannot be shown to annotators: {faults[row['oid']]}",
                recording_id=row["recording_id"],
                details={"oid": row["oid"]},
            )
            for row in bad
        ],
    )
    return [row for row in rows if row["oid"] not in faults]


def frame_row(frame: Frame) -> dict[str, Any]:
    """A frame as a row for `place`."""
    return frame.model_dump(include=set(_FRAME_COLUMNS))


def _labeling_task(
    lake: Lake, row: dict[str, Any], recording: dict[str, Any], annotations: Mapping[FrameKey, list[dict[str, Any]]]
) -> dict[str, Any]:
    frame = (row["recording_id"], row["frame_index"])
    data = {
        "image": lake.frames.uri(row["oid"]),
        "recording": _shown(recording.get("name")),
        "study": _shown(recording.get("study")),
        "recording_id": row["recording_id"],
        "frame_index": row["frame_index"],
        "frame_oid": row["oid"],
        "pts_s": row["pts_s"],
        "width_px": row["width_px"],
        "height_px": row["height_px"],
    }
    if frame not in annotations:
        return {"data": data}
    # Without saying so, Label Studio would make every imported annotation "ground truth".
    return {"data": data, "annotations": [{"result": annotations[frame], "ground_truth": False}]}


def _shown(name: str | None) -> str | None:
    return None if name is None else marked(name, _LONGEST_NAME)


def _recordings(lake: Lake, ids: set[str]) -> dict[str, dict[str, Any]]:
    rows = lake.tables.scan("recordings", columns=("recording_id", "name", "study")).to_pylist()
    return {row["recording_id"]: row for row in rows if row["recording_id"] in ids}
