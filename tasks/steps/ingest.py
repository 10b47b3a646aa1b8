"""Take new recordings out of the landing bucket into the lake."""

from __future__ import annotations

import logging

from tasks.config import Line, load_line
from tasks.errors import ConfigError, NothingToDo
from tasks.schemas import Frozen
from tasks.session import Session
from tasks.steps.results import SetAside

log = logging.getLogger(__name__)


class Ingested(Frozen):
    """What the landing bucket held that is in the lake now."""

    new: tuple[str, ...]
    duplicates: tuple[str, ...]
    """Landing keys with content that the lake has already."""
    frames: int
    quarantined: tuple[SetAside, ...]
    delayed: tuple[SetAside, ...]
    """What did not come through; the next night tries again."""


def list_lines(session: Session) -> list[str]:
    """List the names of all lines whose files are right."""
    return [line.line for line in _right_lines(session)]


def _right_lines(session: Session) -> tuple[Line, ...]:
    """Read every line whose file is right.

    A line whose file is wrong keeps no other line's recordings and labels waiting: its own DAG reports what is wrong.
    Once it is mended it gets its frames like a new line.
    """
    lines = []
    for name in session.line_names():
        try:
            lines.append(load_line(name, session.settings.lines_dir))
        except ConfigError as error:
            log.warning(f"left out: {error}")
    return tuple(lines)


def ingest_recordings(session: Session, *, must_be_new: bool = False) -> Ingested:
    """Take everything new in the landing bucket into the lake, once.

    Args:
        session: Whose bucket and lake.
        must_be_new: Raise if there is nothing new, so that nothing downstream is woken.

    Raises:
        NothingToDo: Nothing is new, and `must_be_new`.
    """
    from tasks.ingest.recordings import ingest_new

    report = ingest_new(session.lake, _right_lines(session))
    if must_be_new and not (report.new or report.quarantined or report.frames):
        waiting = f"; {len(report.delayed)} did not come through, the next night tries again" if report.delayed else ""
        raise NothingToDo(f"landing bucket: nothing new{waiting}")
    return Ingested(
        new=tuple(report.new),
        duplicates=report.duplicates,
        frames=report.frames,
        quarantined=tuple(SetAside(what=item.subject, reason=item.reason) for item in report.quarantined),
        delayed=tuple(SetAside(what=key, reason=reason) for key, reason in report.delayed),
    )
