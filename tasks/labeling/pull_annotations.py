"""Annotators' work becomes revisions in the lake: appended, never changed.

An annotation's newest revision in the table is compared with what Label Studio says now, and appended only where they
differ. So a pull that was killed half way, and one that looks at unchanged work again, add nothing twice.

An annotation of which a part could not be read says so in its row (`unread`) and goes to quarantine whole, with whose
work it is. Its row keeps the objects that could be read, for the record: nobody may learn from them. Once it is mended
in Label Studio, its next revision has nothing unread, and counts.
"""

from __future__ import annotations

from collections.abc import Set
from datetime import datetime
from typing import Any, Literal

from tasks.config import Line
from tasks.escaping import marked
from tasks.kind import Kind, Object
from tasks.labeling.answers import Project, TaskWork, Work
from tasks.labeling.client import LabelStudio
from tasks.labeling.convert import to_objects, unread
from tasks.labeling.label_config import questions
from tasks.labeling.push_tasks import Changes
from tasks.labeling.state import SyncState, frame_of
from tasks.lake import Lake
from tasks.lake.quarantine import set_aside
from tasks.schemas import Annotation, Frozen, QuarantineItem, digest, now

_CHUNK = 1000
_CHUNK_OBJECTS = 100_000
UNREAD_CHECK = "work_is_read_whole"
"""The check of `expectations/annotations.json` that an unread annotation fails."""
_KNOWN_COLUMNS = (
    "annotation_id", "revision_id", "state", "labeling_task_id", "recording_id", "frame_index", "frame_oid",
    "annotator", "updated_at",
)  # fmt: skip
State = Literal["active", "cancelled", "deleted"]


class Pulled(Frozen):
    """What a pull brought: revisions by their state, annotations set aside, labeling tasks to look at again."""

    active: int = 0
    cancelled: int = 0
    deleted: int = 0
    quarantined: int = 0
    again: frozenset[int] = frozenset()

    @property
    def revisions(self) -> int:
        """All revisions appended."""
        return self.active + self.cancelled + self.deleted


def pull_annotations(
    client: LabelStudio, project: Project, lake: Lake, line: Line, kind: Kind, state: SyncState, changes: Changes
) -> Pulled:
    """Append a revision for everything that changed in the given labeling tasks.

    Args:
        client: Label Studio.
        project: The line's project.
        lake: Gains the revisions.
        line: The model line.
        kind: Of the line.
        state: All labeling tasks there are now.
        changes: Which of them to look at.
    """
    if not changes.changed and not changes.removed:
        return Pulled()
    puller = _Puller(client, project, lake, line, kind)
    # Label Studio's counters are not trusted to say that known work is gone: it is looked for.
    worked_on = {task_id for task_id, task in state.tasks.items() if task.annotations} | puller.known_tasks()
    to_read = sorted(changes.changed & worked_on & state.tasks.keys())
    for task in client.task_work(project.project_id, to_read):
        puller.take(task)
    puller.take_gone(changes.changed, state.tasks.keys())
    return puller.finish()


class _Puller:
    """One pull: knows what the table holds, and appends what differs, a bounded number of rows at a time."""

    def __init__(self, client: LabelStudio, project: Project, lake: Lake, line: Line, kind: Kind) -> None:
        self._lake = lake
        self._line, self._kind = line, kind
        self._prefix = f"{project.project_id}-"
        self._as_of = project.as_of
        self._asked = questions(project.label_config, line, kind)
        self._known = self._newest()
        self._names = client.user_names()
        self._alive: set[str] = set()
        self._again: set[int] = set()
        self._rows: list[Annotation] = []
        self._objects = 0
        self._faults: list[QuarantineItem] = []
        self._counts: dict[State, int] = {"active": 0, "cancelled": 0, "deleted": 0}
        self._quarantined = 0

    def take(self, task: TaskWork) -> None:
        """Append what is new in a labeling task."""
        if frame_of(task.data) is None:
            return
        for work in task.work:
            row = self._revision(task, work)
            if work.unreadable:
                self._again.add(task.task_id)
            self._alive.add(row.annotation_id)
            known = self._known.get(row.annotation_id)
            if known is None or known["revision_id"] != row.revision_id:
                self._add(row)
        if len(self._rows) >= _CHUNK or self._objects >= _CHUNK_OBJECTS:
            self._commit()

    def known_tasks(self) -> set[int]:
        """Labeling tasks with work that is in the table and not deleted."""
        return {known["labeling_task_id"] for known in self._known.values() if known["state"] != "deleted"}

    def take_gone(self, changed: Set[int], present: Set[int]) -> None:
        """Append that annotations are deleted: gone from a labeling task we looked at, or gone with theirs.

        Comes last: on SQLite, Label Studio may give the id of a deleted annotation to a new one in another labeling
        task, and an id that is alive is not deleted.
        """
        for annotation_id, known in self._known.items():
            task_id = known["labeling_task_id"]
            gone = task_id in changed or task_id not in present
            if gone and known["state"] != "deleted" and annotation_id not in self._alive:
                self._add(self._deletion(known))

    def finish(self) -> Pulled:
        """Commit the rest."""
        self._commit()
        return Pulled(**self._counts, quarantined=self._quarantined, again=frozenset(self._again))

    def _newest(self) -> dict[str, dict[str, Any]]:
        """The newest revision of every annotation of this project; the table keeps the order they were appended in."""
        rows = self._lake.tables.scan("annotations", {"line": self._line.line}, _KNOWN_COLUMNS)
        found: dict[str, dict[str, Any]] = {}
        for batch in rows.to_batches(max_chunksize=10_000):
            found |= {row["annotation_id"]: row for row in batch.to_pylist() if self._own(row["annotation_id"])}
        return found

    def _own(self, annotation_id: str) -> bool:
        return annotation_id.startswith(self._prefix)

    def _revision(self, task: TaskWork, work: Work) -> Annotation:
        data = task.data
        objects, fault = self._read(work, data["width_px"], data["height_px"])
        row = self._row(
            annotation_id=f"{self._prefix}{work.annotation_id}",
            state="cancelled" if work.cancelled else "active",
            labeling_task_id=task.task_id,
            recording_id=data["recording_id"],
            frame_index=data["frame_index"],
            frame_oid=data["frame_oid"],
            annotator=self._names.get(work.annotator_id or 0, "unknown"),
            objects=tuple(objects),
            # Left out where they say nothing, so that what was read before these fields keeps its revision.
            **_given(unread=fault, ground_truth=work.ground_truth, review=work.review),
            updated_at=work.updated_at,
        )
        if row.state == "active" and row.unread:
            self._faults.append(self._fault(row, data, row.unread))
        return row

    def _read(self, work: Work, width_px: int, height_px: int) -> tuple[list[Object], str | None]:
        """An annotation's objects, and why they are not all of them."""
        if work.unreadable:
            return [], f"what was drawn cannot be read: {work.unreadable}"
        objects, faults = to_objects(self._kind, work.regions, width_px, height_px, self._asked, line=self._line)
        return objects, unread(faults)

    def _deletion(self, known: dict[str, Any]) -> Annotation:
        kept = {name: known[name] for name in _KNOWN_COLUMNS if name not in ("revision_id", "state", "updated_at")}
        # Nobody says when it was deleted: no later than now, and after the last change.
        return self._row(**kept, state="deleted", updated_at=max(self._as_of, known["updated_at"]))

    def _row(self, *, updated_at: datetime, **content: Any) -> Annotation:
        revision = digest({**content, "line": self._line.line})
        return Annotation(revision_id=revision, line=self._line.line, updated_at=updated_at, synced_at=now(), **content)

    def _fault(self, row: Annotation, data: dict[str, Any], reason: str) -> QuarantineItem:
        # Worded as validation words it, which judges the row every night: the same item, once.
        name = data.get("recording")
        place = marked(name, 300) if isinstance(name, str) and name else f"recording {row.recording_id[:12]}"
        return QuarantineItem.of(
            "annotation",
            f"{place} frame {row.frame_index}",
            reason,
            line=row.line,
            recording_id=row.recording_id,
            annotation_id=row.annotation_id,
            annotator=row.annotator,
            details={"checks": [UNREAD_CHECK]},
        )

    def _add(self, row: Annotation) -> None:
        self._rows.append(row)
        self._objects += len(row.objects)
        self._counts[row.state] += 1

    def _commit(self) -> None:
        # Faults first: a revision without its faults would look complete, faults without it are found again.
        self._quarantined += set_aside(self._lake, self._faults) if self._faults else 0
        self._lake.tables.append("annotations", self._rows)
        self._faults, self._rows, self._objects = [], [], 0


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}
