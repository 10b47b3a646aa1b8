"""Bring recordings and labels in that exist already, and list what was set aside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.config import Settings
from tasks.errors import ConfigError
from tasks.kinds import kind_of
from tasks.operations.erase import readmit_donor
from tasks.schemas import QuarantineItem, Split
from tasks.session import Session
from tasks.steps.ingest import ingest_recordings
from tasks.steps.results import SetAside

if TYPE_CHECKING:
    from tasks.ingest.landing import AddReport
    from tasks.labeling.importing import ImportReport


def add_recordings(
    session: Session,
    paths: list[Path],
    *,
    study: str | None = None,
    donor: str | None = None,
    um_per_px: float | None = None,
    fps_hz: float | None = None,
    split: Split | None = None,
    pseudonyms: bool = False,
    readmit: bool = False,
) -> AddReport:
    """Put recordings into the landing bucket.

    Args:
        session: Whose bucket.
        paths, study, donor, um_per_px, fps_hz, split: As for `tasks.ingest.landing.add`.
        pseudonyms: Replace the donor's and the files' names by pseudonyms; this machine keeps which is whose.
        readmit: The donor was erased, and comes again.

    Raises:
        ConfigError: The metadata is wrong, a donor is to be re-admitted who was never erased, or one whom this machine
            knows by a pseudonym is to be added in clear.
    """
    from tasks.ingest.landing import add

    lake = session.lake
    check_donor(session.settings, donor, pseudonyms)
    if readmit:
        readmit_donor(lake, donor)
    return add(
        lake, paths, study=study, donor=donor, um_per_px=um_per_px, fps_hz=fps_hz, split=split, pseudonyms=pseudonyms
    )


def check_donor(settings: Settings, donor: str | None, pseudonyms: bool) -> None:
    """Refuse a clear name of whom this machine knows by a pseudonym.

    Raises:
        ConfigError: It does.
    """
    from tasks.lake.pseudonyms import known_names, pseudonym

    known = known_names(settings)
    if donor and not pseudonyms and known and pseudonym(settings, "donor", donor) in known:
        raise ConfigError(
            "add: this donor has a pseudonym here, and would become a second donor by the clear name",
            fix="say --pseudonym, too",
        )


def import_labels(
    session: Session,
    line: str,
    folder: Path,
    label_format: str,
    frame_base: int | None = None,
) -> ImportReport:
    """Bring existing labels into Label Studio as annotations, taking the frames they need.

    What waits in the landing bucket is ingested first: labels usually arrive together with their recordings.
    """
    from functools import partial

    from tasks.ingest.frames import take_frames
    from tasks.ingest.picture_names import picture_names
    from tasks.labeling.importing import import_labels as into_label_studio
    from tasks.lake.pseudonyms import known_names

    ingest_recordings(session)
    lake, own = session.lake, session.line(line)
    return into_label_studio(
        lake, own, folder, label_format, frame_base,
        kind=kind_of(own.kind), take_frames=take_frames,
        picture_names=partial(picture_names, lake), clear_names=known_names(session.settings),
    )  # fmt: skip


def quarantined_recordings(session: Session, line: str | None = None) -> list[SetAside]:
    """List every recording that stands in quarantine, of all lines or as far as it concerns one."""
    from tasks.lake.quarantine import listed

    items = listed(session.lake, line)
    return [SetAside(what=item.subject, reason=item.reason) for item in items if item.what == "recording"]


def list_quarantine(session: Session, line: str | None = None) -> list[QuarantineItem]:
    """List everything in quarantine, newest first; with a line, what concerns it.

    Raises:
        ConfigError: There is no such line.
    """
    from tasks.lake.quarantine import listed

    if line is not None:
        session.line(line)
    return list(reversed(listed(session.lake, line)))
