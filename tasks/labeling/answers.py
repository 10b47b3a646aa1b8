"""What Label Studio answers, as our nouns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal


@dataclass(frozen=True)
class Project:
    """A Label Studio project.

    Attributes:
        labeling_tasks: How many it holds.
        annotations: How many it holds, cancelled ones included, drafts not.
        as_of: The server's clock when it said so.
        refused: Why the line's classes could not be put into the config; '' if they are in it.
    """

    project_id: int
    title: str
    description: str
    label_config: str
    labeling_tasks: int
    annotations: int
    as_of: datetime
    refused: str = ""


@dataclass(frozen=True)
class TaskHead:
    """What there is to know of a labeling task without reading its annotations."""

    task_id: int
    data: dict[str, Any]
    updated_at: str
    annotations: int


@dataclass(frozen=True)
class Work:
    """One annotation as Label Studio has it now.

    Attributes:
        annotation_id: Its id.
        annotator_id: Who made it; None if nobody is named.
        cancelled: The annotator skipped the frame.
        regions: Label Studio's `result`; a list of regions, unless it is damaged.
        updated_at: When it was last changed.
        ground_truth: Somebody starred it as such.
        review: What a reviewer last said of it.
        unreadable: Why Label Studio's answer could not be read; None if it could.
    """

    annotation_id: int
    annotator_id: int | None
    cancelled: bool
    regions: Any
    updated_at: datetime
    ground_truth: bool = False
    review: Literal["accepted", "rejected"] | None = None
    unreadable: str | None = None


@dataclass(frozen=True)
class TaskWork:
    """A labeling task with all its annotations."""

    task_id: int
    data: dict[str, Any]
    work: tuple[Work, ...]


@dataclass(frozen=True)
class Prediction:
    """A prediction of a labeling task: what a model put before the annotators.

    Attributes:
        prediction_id: Its id.
        model_version: What the model is called; '' where nobody said.
        marks: What its regions' ids begin with.
    """

    prediction_id: int
    model_version: str
    marks: frozenset[str]


def prediction_of(entry: dict[str, Any]) -> Prediction:
    """A prediction from its JSON."""
    regions = entry.get("result")
    ids = [each.get("id") for each in regions if isinstance(each, dict)] if isinstance(regions, list) else []
    marks = frozenset(str(each).split(".")[0] for each in ids)
    return Prediction(int(entry["id"]), str(entry.get("model_version") or ""), marks)


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


def work_of(entry: dict[str, Any], unreadable: str | None = None) -> Work:
    """An annotation from its JSON.

    Args:
        entry: Label Studio's answer, without `result` if that could not be read.
        unreadable: Why it could not.
    """
    annotator = entry.get("completed_by")
    if isinstance(annotator, dict):  # some versions of Label Studio expand it
        annotator = annotator.get("id")
    stated = datetime.fromisoformat(entry["updated_at"])
    return Work(
        annotation_id=int(entry["id"]),
        annotator_id=annotator if isinstance(annotator, int) else None,
        cancelled=bool(entry.get("was_cancelled")),
        regions=[] if unreadable else entry["result"],
        updated_at=stated if stated.tzinfo else stated.replace(tzinfo=UTC),
        ground_truth=bool(entry.get("ground_truth")),
        review=_review(entry),
        unreadable=unreadable,
    )


def _review(entry: dict[str, Any]) -> Literal["accepted", "rejected"] | None:
    """The last word of a reviewer: the reviews themselves where the server has them, else the last action."""
    reviews = entry.get("reviews")
    if isinstance(reviews, list) and reviews and isinstance(reviews[-1], dict) and "accepted" in reviews[-1]:
        return "accepted" if reviews[-1]["accepted"] else "rejected"
    action = entry.get("last_action")
    if action in ("accepted", "fixed_and_accepted"):
        return "accepted"
    return "rejected" if action == "rejected" else None
