"""Look at a line's dataset version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.session import Session
from tasks.steps.exploration import explore_dataset

if TYPE_CHECKING:
    from tasks.exploration.explore import Explored


def explore_line(session: Session, name: str, dataset_version: str | None = None) -> tuple[Explored, bytes]:
    """Write the exploration report of a line's newest dataset version, or of another (by its first digits), anew.

    Where the line has none yet, one is frozen of what its labels say now, as a night would.

    Returns:
        What was found, and the HTML.

    Raises:
        NotFound: No such version.
        ConfigError: Several versions begin so.
        InsufficientData: There is no version yet, and too few labels for one.
    """
    from tasks import steps

    line = session.line(name)
    versions = session.lake.datasets.versions(line.line)
    if dataset_version is None and not versions:
        validation = steps.validate_labels(session, name)
        dataset_version = steps.freeze_dataset(session, name, {}, validation.validation_oid, force=True).dataset_version
    chosen = session.lake.datasets.resolve(line.line, dataset_version) if dataset_version else versions[-1]
    explored = explore_dataset(session, name, chosen, again=True)
    return explored, session.lake.blobs.get_bytes(explored.report_oid)
