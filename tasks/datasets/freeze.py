"""Freezes validated annotations into a dataset version.

Order matters: place the groups (only on paper), bring stills together that show the same, refuse leaks, check the
minimums, then record the splits, then save the manifest. A crash in between leaves nothing that the next night would
not do in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.datasets import splits, together
from tasks.kind import Kind
from tasks.kind.label_counts import label_counts, rows_of
from tasks.lake import Lake
from tasks.lake.datasets import COLUMNS
from tasks.lake.locks import lake_lock
from tasks.leakage import audited, require_passed
from tasks.leakage.thumbnails import Viewer
from tasks.schemas import SPLITS, Oid, Split, canonical_json, now

if TYPE_CHECKING:
    import pyarrow as pa

DatasetCheck = Callable[[Lake, Line, Kind, "pa.Table"], Oid]
"""Judges accepted rows with their `split`: the oid of its result, or InsufficientData.
`tasks.validation.dataset.check_dataset`."""


def freeze(
    lake: Lake,
    line: Line,
    accepted: pa.Table,
    *,
    kind: Kind,
    validation: Mapping[str, Any],
    check: DatasetCheck,
    viewer: Viewer | None = None,
) -> str:
    """Make a dataset version. The same annotations give the same version, and nothing is written again.

    Args:
        lake: The lake.
        line: Whose dataset it is.
        accepted: What validation accepted: one row per frame, columns `tasks.validation.accepted.ACCEPTED`.
        kind: Of the line.
        validation: What to keep of the validation: `result_oid`, `report_oid`, `snapshots`.
        check: Judges the dataset once it is split.
        viewer: Shows recordings to the leak audit, `tasks.ingest.viewing.Viewer`; None: only frames are compared, and
            the guard before a training audits once more.

    Returns:
        The version. Its record (`lake.datasets.load(...).about`) has `has_val`, `counts`, `splits`, `warnings`,
        `leak_check`, `validation`, `created_at`.

    Raises:
        InsufficientData: Too little to split, or below the line's minimums.
        LeakageError: Something stands in two splits.
        DataError: Recordings of one group are pinned to different splits.
    """
    with lake_lock(lake.settings, f"splits-{line.line}"):
        planned = splits.plan(line, splits.pins_of(accepted), splits.recorded(lake, line))
        planned, audit = together.settled(
            lake, line, planned, lambda splits: audited(lake, line.line, placed(accepted, splits), viewer)
        )
        require_passed(lake, line.line, audit)
        whole = placed(accepted, planned.splits)
        rows = manifest_rows(line, whole)
        check_oid = check(lake, line, kind, whole)
        splits.record(lake, line, planned)
        about = {
            "kind": line.kind,
            "classes": list(line.classes),
            "has_val": "val" in planned.splits.values(),
            "counts": counts(whole, kind),
            "splits": planned.splits,
            "warnings": list(planned.warnings),
            "leak_check": audit.as_json(),
            "validation": {**validation, "dataset_oid": check_oid},
            "line_fingerprint": line.fingerprint(),
            "created_at": now().isoformat(),
        }
        return lake.datasets.save(line.line, rows, about)


def manifest_rows(line: Line, rows: pa.Table) -> pa.Table:
    """The rows of a manifest: the columns that every manifest has; the schema says what the objects are.

    Where they are of several studies, `study` stands behind them: models are also measured study by study.
    """
    metadata = {"line": line.line, "kind": line.kind, "classes": canonical_json(list(line.classes))}
    if line.channels:  # they decide what a model sees: another mapping, another version
        metadata["channels"] = canonical_json(line.channels)
    studies = set(rows.column("study").to_pylist()) if "study" in rows.schema.names else set()
    columns = [*COLUMNS, "study"] if len(studies) > 1 else list(COLUMNS)
    return rows.select(columns).replace_schema_metadata(metadata)


def counts(rows: pa.Table, kind: Kind) -> dict[str, Any]:
    """Groups, recordings, frames, and objects by class, of each split that a manifest has."""
    found: dict[str, Any] = {}
    for split in SPLITS:
        own = rows_of(rows, split)
        if own.num_rows:
            found[split] = {
                "groups": len(own.column("group").unique()),
                "recordings": len(own.column("recording_id").unique()),
                "frames": own.num_rows,
                "labels": dict(sorted(label_counts(own, kind).items())),
            }
    return found


def placed(accepted: pa.Table, places: Mapping[str, Split]) -> pa.Table:
    """Accepted rows with each group's split beside them."""
    import pyarrow as pa

    column = [places[group] for group in accepted.column("group").to_pylist()]
    return accepted.append_column("split", pa.array(column, pa.string()))
