"""Which snapshots of a table are kept, and which are forgotten.

A snapshot costs a kilobyte in a file that each commit writes anew, and keeps the files that compaction has superseded.
Those that a dataset version names are kept for good: its record promises that the tables can be read as they were.
Others are kept for a time, counted from the moment when a newer one took their place.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from tasks.errors import DataError
from tasks.lake.object_store import ObjectStore

if TYPE_CHECKING:
    from pyiceberg.table import Table


def expired(opened: Table, before: datetime, named: Collection[int]) -> list[int]:
    """Ids of the snapshots that may be forgotten, oldest first.

    Args:
        opened: The table.
        before: What was superseded at this moment or later is kept.
        named: Snapshots that are kept in any case.
    """
    kept = {*named, *(ref.snapshot_id for ref in opened.metadata.refs.values())}
    ordered = sorted(opened.snapshots(), key=lambda snapshot: snapshot.sequence_number or 0)
    return [
        snapshot.snapshot_id
        for snapshot, successor in pairwise(ordered)
        if snapshot.snapshot_id not in kept and datetime.fromtimestamp(successor.timestamp_ms / 1000, UTC) < before
    ]


def forget(opened: Table, ids: Collection[int]) -> None:
    """Forget snapshots; the files that only they consist of are left to `gc`."""
    if ids:
        opened.maintenance.expire_snapshots().by_ids(list(ids)).commit()


def forget_all(opened: Table) -> None:
    """Forget every snapshot but the present one, named or not: for what must not be kept."""
    present = opened.current_snapshot()
    forget(
        opened, [one.snapshot_id for one in opened.snapshots() if present and one.snapshot_id != present.snapshot_id]
    )


def named_by_datasets(store: ObjectStore) -> dict[str, set[int]]:
    """The snapshots that dataset versions name, those of experiments included, by table.

    Evidence bundles repeat what their dataset version's record says, and dataset versions are never removed.

    Raises:
        DataError: A record cannot be read. It may name any snapshot: none must be forgotten now.
    """
    found: dict[str, set[int]] = {}
    for info in store.list("datasets/"):
        if not info.key.endswith("/about.json"):
            continue
        try:
            validation = json.loads(store.get_bytes(info.key)).get("validation") or {}
            for table, snapshot in (validation.get("snapshots") or {}).items():
                if snapshot is not None:
                    found.setdefault(table, set()).add(int(snapshot))
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(
                f"s3://{store.bucket}/{info.key}: cannot be read as the record of a dataset version",
                found=str(error),
                fix="no snapshot was forgotten; restore this file from a backup",
            ) from error
    return found
