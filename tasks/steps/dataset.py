"""Turn labels into a dataset version: check them, then freeze what was accepted."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from tasks.errors import NothingToDo
from tasks.kinds import kind_of
from tasks.schemas import Frozen, Oid
from tasks.session import Session
from tasks.steps.change_detection import finished_night, run_fingerprint
from tasks.steps.exploration import explore_dataset
from tasks.steps.results import SetAside

log = logging.getLogger(__name__)


class ValidatedLabels(Frozen):
    """What a line may learn from, and what was set aside."""

    validation_oid: Oid
    report_oid: Oid
    frames: int
    quarantined: tuple[SetAside, ...]


class FrozenDataset(Frozen):
    """A dataset version that is there."""

    dataset_version: Oid


def validate_labels(session: Session, name: str, changes: Mapping[str, Any] | None = None) -> ValidatedLabels:
    """Check everything the line could learn from; what is bad goes to quarantine, the rest goes on.

    Raises:
        InsufficientData: What is left is below the line's minimums; says what is missing.
    """
    from tasks.validation.validate import validate

    lake, line = session.lake, session.line(name, changes)
    validation = validate(lake, line, kind_of(line.kind))
    log.info(f"validation report: s3://{session.settings.s3.lake_bucket}/{lake.blobs.key(validation.report_oid)}")
    for note in validation.notes:
        log.info(f"note: {note}")
    validation.require_enough(line)
    return ValidatedLabels(
        validation_oid=validation.result_oid,
        report_oid=validation.report_oid,
        frames=validation.accepted.num_rows,
        quarantined=tuple(SetAside(what=item.subject, reason=item.reason) for item in validation.quarantined),
    )


def freeze_dataset(
    session: Session, name: str, changes: Mapping[str, Any] | None, validation_oid: str, *, force: bool = False
) -> FrozenDataset:
    """Assign splits and freeze what was accepted to a dataset version.

    The same accepted labels give the same version.

    Raises:
        NothingToDo: A night has finished with this dataset version, recipe, code, seed and gates.
        InsufficientData: Too few groups to train and to test.
        LeakageError: Something of one split also stands in another; names the pairs and the report that shows them.
    """
    from tasks.datasets.freeze import freeze
    from tasks.ingest.viewing import Viewer
    from tasks.training.identity import run_key
    from tasks.validation.dataset import check_dataset
    from tasks.validation.validate import load_validation

    lake, line = session.lake, session.line(name, changes)
    kind = kind_of(line.kind)
    found = load_validation(lake, name, validation_oid)
    about = {"result_oid": found.result_oid, "report_oid": found.report_oid, "snapshots": found.snapshots}
    with Viewer(lake) as viewer:
        version = freeze(lake, line, found.accepted, kind=kind, validation=about, check=check_dataset, viewer=viewer)
    key = run_fingerprint(run_key(lake, line, version, kind), line)
    finished = finished_night(lake, name, key)
    if finished and not force:
        raise NothingToDo(
            f"line {name}: something has changed, but what may be learned from is still dataset {version[:12]}, "
            f"judged by these gates on {finished['at'][:16]} UTC (verdict: {finished['verdict']})"
        )
    _explore(session, name, version)
    return FrozenDataset(dataset_version=version)


def _explore(session: Session, name: str, version: str) -> None:
    """Keep the version's exploration report beside it. It decides nothing, so its fault does not end a night."""
    try:
        explore_dataset(session, name, version)
    except Exception as error:  # also the lake's: the steps that need what it holds will meet it, and try again
        log.warning(f"dataset {version[:12]} has no exploration report: {type(error).__name__}: {error}")
