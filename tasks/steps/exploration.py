"""Show what a dataset version looks like, before it is learned from."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tasks.kinds import kind_of
from tasks.session import Session

if TYPE_CHECKING:
    from tasks.exploration.explore import Explored

log = logging.getLogger(__name__)


def explore_dataset(session: Session, name: str, dataset_version: str, *, again: bool = False) -> Explored:
    """Write the exploration report of a dataset version and keep it beside it; what is there is returned.

    Args:
        session: Whose lake.
        name: The line.
        dataset_version: Of the line.
        again: Write it anew.

    Raises:
        NotFound: No such version, or a frame of it is not in the lake.
    """
    from tasks.exploration.explore import explore

    lake, line = session.lake, session.line(name)
    found = explore(lake, line, kind_of(line.kind), lake.datasets.load(name, dataset_version), again=again)
    log.info(f"exploration report: {lake.blobs.uri(found.report_oid)}")
    return found
