"""The leak audit as the guard before every training and every comparison with a champion."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tasks.errors import LeakageError, NotFound
from tasks.lake import Lake

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.lake import Manifest
    from tasks.leakage import Audit

log = logging.getLogger(__name__)


def audited(lake: Lake, line: str, rows: pa.Table) -> Audit:
    """Audit a split dataset's rows, recordings included: take the filed audit, or make and file one now."""
    from tasks.ingest.viewing import Viewer
    from tasks.leakage import audited as audited_by

    with Viewer(lake) as viewer:
        return audited_by(lake, line, rows, viewer)


def require_audit(lake: Lake, manifest: Manifest) -> None:
    """Let only a dataset version train that today's audit has passed; one that was never audited by it is audited now.

    Raises:
        LeakageError: It leaks; names the pairs and the report.
    """
    from tasks.leakage import filed, has_passed, require_passed

    if has_passed(filed(lake, manifest.line, manifest.rows) or {}):  # signed, which the version's own record is not
        return
    log.info(f"auditing dataset {manifest.version[:12]}: no audit by today's code is on record with it")
    require_passed(lake, manifest.line, audited(lake, manifest.line, manifest.rows))


def require_apart(lake: Lake, line: str, dataset_version: str, champion_dataset_version: str) -> None:
    """Let only a champion be judged on a test split that it has not learned from, under whatever name.

    A recording and its copy may never stand in one dataset version, and still meet here: the labels of one were deleted
    after the champion had learned from it.

    Args:
        lake: Where both versions are; a champion's that is gone is said, and nothing is compared.
        line: Whose they are.
        dataset_version: Of which the test split is.
        champion_dataset_version: What the champion learned from: its train and val.

    Raises:
        LeakageError: The champion knows something of the test; names the pairs and the report.
    """
    from tasks.leakage import require_passed
    from tasks.leakage.apart import learned_and_tested

    if dataset_version == champion_dataset_version:
        return
    try:
        known = lake.datasets.load(line, champion_dataset_version).rows
    except NotFound:
        log.warning(
            f"the champion learned from dataset {champion_dataset_version[:12]}, which is gone: nobody can tell "
            "whether it has seen tonight's test"
        )
        return
    rows = learned_and_tested(known, lake.datasets.load(line, dataset_version).rows)
    copied = (
        "the champion has learned from a copy of this test recording: delete the copy's labels in the TEST split in "
        "Label Studio, or take it out, and run it again: this champion and the next are judged without it"
    )
    try:
        require_passed(lake, line, audited(lake, line, rows), if_copy=copied)
    except LeakageError as error:
        raise LeakageError(
            f"the champion has learned from what stands in tonight's test. {error.thing}",
            expected=f"nothing of the champion's dataset {champion_dataset_version[:12]} in the test split",
            found=error.found,
            fix=error.fix,
        ) from error
