"""What the last sync of a line knew, so that the next one costs what is new and not what there is.

One object in the lake, `labeling/<line>/state.json.gz`. It is an aid, not the truth: without it, a sync reads every
labeling task again and comes to the same result. Only the memory of labeling tasks that people removed would be lost,
and their frames would be offered again.
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tasks.labeling.answers import TaskHead
from tasks.lake import Lake
from tasks.lake.conditional import Seen, put_as_seen

FrameKey = tuple[str, int]
"""Identity of a frame: (recording_id, frame_index)."""

READING = 2
"""Raised whenever annotations are read in another way, so that all of them are read again, once."""

_MOST_CHARACTERS = 200
_LARGEST = 2**31 - 1
_TEXTS = ("recording_id", "frame_oid")
_NUMBERS = ("frame_index", "width_px", "height_px")


@dataclass
class KnownTask:
    """A labeling task as last seen.

    Attributes:
        frame: What it shows; None for tasks that people added to the project by themselves.
        updated_at: Label Studio's word; '' if only its making is known.
        annotations: How many had been pulled or seen, cancelled ones included.
    """

    frame: FrameKey | None
    updated_at: str = ""
    annotations: int = 0


@dataclass
class SyncState:
    """What the last sync of a line knew.

    Attributes:
        project_id: The line's project; None before the first sync.
        watermark: Label Studio's clock before its tasks were last listed.
        frames_snapshot: State of the frames table when every frame of the line had its labeling task.
        tasks: Labeling task id -> what is known of it.
        removed: Frames whose labeling task people removed. They are not offered again.
        drift: Label Studio's count of annotations less the sum over its labeling tasks: not always 0.
        shown: Class -> what its label was given in the labeling config; what differs from it, the lab changed.
        again: Labeling tasks whose annotations could not be read, to be looked at again.
        reading: The way of reading annotations (`READING`) that all of them went through.
    """

    project_id: int | None = None
    watermark: datetime | None = None
    frames_snapshot: int | None = None
    tasks: dict[int, KnownTask] = field(default_factory=dict)
    removed: set[FrameKey] = field(default_factory=set)
    drift: int = 0
    shown: dict[str, dict[str, str]] | None = None
    again: frozenset[int] = frozenset()
    reading: int = READING

    @property
    def annotations(self) -> int:
        """Annotations in all known labeling tasks."""
        return sum(task.annotations for task in self.tasks.values())

    def placed(self) -> dict[FrameKey, int]:
        """Frame -> its labeling task; the first one if there are several."""
        found: dict[FrameKey, int] = {}
        for task_id in sorted(self.tasks):
            frame = self.tasks[task_id].frame
            if frame is not None:
                found.setdefault(frame, task_id)
        return found

    def see(self, head: TaskHead) -> bool:
        """Take in what Label Studio says of a labeling task; whether its annotations may have changed."""
        before = self.tasks.get(head.task_id, KnownTask(None))
        self.tasks[head.task_id] = KnownTask(frame_of(head.data), head.updated_at, head.annotations)
        return (before.updated_at, before.annotations) != (head.updated_at, head.annotations)


def frame_of(data: dict[str, Any]) -> FrameKey | None:
    """The frame a labeling task shows, or None if it is not one of ours."""
    texts, numbers = [data.get(name) for name in _TEXTS], [data.get(name) for name in _NUMBERS]
    if all(map(_is_id, texts)) and all(map(_is_count, numbers)):
        return data["recording_id"], data["frame_index"]
    return None


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable() and len(value) <= _MOST_CHARACTERS


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST


def load(lake: Lake, line: str) -> SyncState:
    """The line's state; a fresh one if there is none, or none that can be read."""
    key = key_of(line)
    if lake.store.head(key) is None:
        return SyncState()
    try:
        stored = json.loads(gzip.decompress(lake.store.get_bytes(key)))
        return SyncState(
            project_id=stored["project_id"],
            watermark=datetime.fromisoformat(stored["watermark"]) if stored["watermark"] else None,
            frames_snapshot=stored["frames_snapshot"],
            tasks={
                int(task_id): KnownTask((recording, index) if recording else None, updated_at, annotations)
                for task_id, recording, index, updated_at, annotations in stored["tasks"]
            },
            removed={(recording, index) for recording, index in stored["removed"]},
            drift=stored["drift"],
            shown=stored.get("shown"),
            again=frozenset(stored.get("again", ())),
            reading=stored.get("reading", 1),
        )
    except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return SyncState()


def save(lake: Lake, line: str, state: SyncState, seen: Seen | None = None) -> None:
    """Write the line's state, in the place of what was `seen`: the last write of a sync."""
    stored = {
        "project_id": state.project_id,
        "watermark": state.watermark.isoformat() if state.watermark else None,
        "frames_snapshot": state.frames_snapshot,
        "tasks": [
            [task_id, *(task.frame or (None, None)), task.updated_at, task.annotations]
            for task_id, task in sorted(state.tasks.items())
        ],
        "removed": sorted(state.removed),
        "drift": state.drift,
        "shown": state.shown,
        "again": sorted(state.again),
        "reading": state.reading,
    }
    data = gzip.compress(json.dumps(stored, separators=(",", ":")).encode(), compresslevel=6, mtime=0)
    put_as_seen(lake, key_of(line), data, "application/gzip", seen)


def key_of(line: str) -> str:
    """Where the line's state is in the lake's bucket."""
    return f"labeling/{line}/state.json.gz"
