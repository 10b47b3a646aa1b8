"""Steps that turn labels into a dataset version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.config import load_settings
from tasks.errors import NothingToDo
from tasks.lake import open_lake
from tasks.steps.news import finished_night, judged_key, resolve_line


def validate_labels(name: str, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Judge everything the line could learn from; what is bad goes to quarantine, the rest goes on.

    Raises:
        InsufficientData: What is left is below the line's minimums; says what is missing.
    """
    from tasks.validation.validate import validate

    settings = load_settings()
    lake = open_lake(settings)
    line = resolve_line(settings, name, changes or {})
    validation = validate(lake, line)
    print(f"validation report: s3://{settings.s3.lake_bucket}/{lake.blobs.key(validation.report_oid)}")
    for note in validation.notes:
        print(f"note: {note}")
    validation.require_enough(line)
    return {
        "validation_oid": validation.result_oid,
        "report_oid": validation.report_oid,
        "frames": validation.accepted.num_rows,
        "quarantined": [{"what": item.subject, "reason": item.reason} for item in validation.quarantined],
    }


def freeze_dataset(name: str, changes: Mapping[str, Any] | None, validation_oid: str, *, force: bool = False) -> str:
    """Assign splits and freeze what was accepted to a dataset version.

    Returns:
        The dataset version. The same accepted labels give the same one.

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

    settings = load_settings()
    lake = open_lake(settings)
    line = resolve_line(settings, name, changes or {})
    found = load_validation(lake, name, validation_oid)
    about = {"result_oid": found.result_oid, "report_oid": found.report_oid, "snapshots": found.snapshots}
    with Viewer(lake) as viewer:
        version = freeze(lake, line, found.accepted, validation=about, check=check_dataset, viewer=viewer)
    key = judged_key(run_key(lake, line, version), line)
    finished = finished_night(lake, name, key)
    if finished and not force:
        raise NothingToDo(
            f"line {name}: something has changed, but what may be learned from is still dataset {version[:12]}, "
            f"judged by these gates on {finished['at'][:16]} UTC (verdict: {finished['verdict']})"
        )
    return version
