"""Exchange frames and labels with Label Studio."""

from __future__ import annotations

import logging

from tasks.errors import NothingToDo
from tasks.kinds import kind_of
from tasks.schemas import Frozen
from tasks.session import Session

log = logging.getLogger(__name__)


class SyncedAnnotations(Frozen):
    """What went to Label Studio, and what came back."""

    tasks_created: int
    revisions: int
    deleted: int
    cancelled: int
    quarantined: int
    notes: tuple[str, ...]


def sync_annotations(session: Session, line: str, *, must_be_new: bool = False) -> SyncedAnnotations:
    """Put the line's new frames before the annotators, and fetch what they have changed.

    Raises:
        NothingToDo: Nothing has changed, and `must_be_new`.
    """
    from tasks.labeling.sync import sync

    own = session.line(line)
    report = sync(session.lake, own, kind_of(own.kind))
    for note in report.notes:
        log.info(f"note: {note}")
    if must_be_new and not report.revisions:
        raise NothingToDo(f"line {line}: no label has changed")
    return SyncedAnnotations(
        tasks_created=report.tasks_created,
        revisions=report.revisions,
        deleted=report.deleted,
        cancelled=report.cancelled,
        quarantined=report.quarantined,
        notes=tuple(report.notes),
    )
