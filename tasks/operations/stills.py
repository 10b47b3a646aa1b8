"""Pictures that are samples of their own, into the landing bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.operations.erase import readmit_donor
from tasks.schemas import Split
from tasks.session import Session

if TYPE_CHECKING:
    from tasks.ingest.stills.adding import StillsReport


def add_stills(
    session: Session,
    places: list[str],
    *,
    group_by: str | None = None,
    study: str | None = None,
    donor: str | None = None,
    um_per_px: float | None = None,
    split: Split | None = None,
    pseudonyms: bool = False,
    readmit: bool = False,
) -> StillsReport:
    """Put pictures into the landing bucket, each a sample of its own: `tasks.ingest.stills.adding.add_stills`, whose
    report it returns.

    Args:
        session: Whose bucket.
        readmit: The donor was erased, and comes again.

    Raises:
        ConfigError: A place, the grouping or the metadata is wrong; or a donor is to be re-admitted who was not erased.
    """
    from tasks.ingest.stills.adding import add_stills as into_landing

    lake = session.lake
    if readmit:
        readmit_donor(lake, donor)
    return into_landing(
        lake, places, group_by=group_by, study=study, donor=donor, um_per_px=um_per_px, split=split,
        pseudonyms=pseudonyms,
    )  # fmt: skip
