"""What Label Studio answers, as our nouns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Project:
    """A Label Studio project.

    Attributes:
        labeling_tasks: How many it holds.
        annotations: How many it holds, cancelled ones included, drafts not.
        as_of: The server's clock when it said so.
    """

    project_id: int
    title: str
    description: str
    label_config: str
    labeling_tasks: int
    annotations: int
    as_of: datetime


@dataclass(frozen=True)
class TaskHead:
    """What there is to know of a labeling task without reading its annotations."""

    task_id: int
    data: dict[str, Any]
    updated_at: str
    annotations: int


@dataclass(frozen=True)
class Work:
    """One annotation as Label Studio has it now."""

    annotation_id: int
    annotator_id: int | None
    cancelled: bool
    regions: list[dict[str, Any]]
    updated_at: datetime


@dataclass(frozen=True)
class TaskWork:
    """A labeling task with all its annotations."""

    task_id: int
    data: dict[str, Any]
    work: tuple[Work, ...]


def project_of(entry: dict[str, Any], as_of: datetime) -> Project:
    """A project from its JSON."""
    return Project(
        project_id=int(entry["id"]),
        title=entry["title"],
        description=entry.get("description") or "",
        label_config=entry["label_config"],
        labeling_tasks=int(entry["task_number"] or 0),
        annotations=int(entry["total_annotations_number"] or 0) + int(entry["skipped_annotations_number"] or 0),
        as_of=as_of,
    )


def work_of(entry: dict[str, Any]) -> Work:
    """An annotation from its JSON."""
    return Work(
        annotation_id=int(entry["id"]),
        annotator_id=entry.get("completed_by"),
        cancelled=bool(entry.get("was_cancelled")),
        regions=list(entry.get("result") or []),
        updated_at=datetime.fromisoformat(entry["updated_at"]),
    )
