"""What keeps tables quick as they grow: few files, and no snapshots that nothing needs any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from tasks.lake.lake import Lake
from tasks.lake.snapshots import named_by_datasets
from tasks.lake.table_schemas import TABLES
from tasks.schemas import now


@dataclass(frozen=True)
class TableUpkeep:
    """What was done to one table, or would be.

    Attributes:
        table: Its name.
        merged: How many small files were made fewer.
        merged_bytes: Their size.
        forgotten: How many snapshots were forgotten.
        kept: How many it still remembers, the present one included.
    """

    table: str
    merged: int
    merged_bytes: int
    forgotten: int
    kept: int


def maintain(lake: Lake, *, dry_run: bool = True, at: datetime | None = None) -> Iterator[TableUpkeep]:
    """Compact each table, then forget snapshots that are old and that no dataset version names.

    Compaction first: the snapshots that it supersedes are young, and stay for the time that the settings say. Files
    that no snapshot consists of any more are removed by `gc.collect`, after its own grace period.

    Args:
        lake: The lake.
        dry_run: Only say what would be done.
        at: The moment that ages are counted from; default now.

    Raises:
        DataError: A dataset version's record cannot be read: then no snapshot is forgotten.
    """
    named = named_by_datasets(lake.store)
    before = (at or now()) - timedelta(days=lake.settings.catalog.keep_snapshots_days)
    for table in TABLES:
        merged, size = lake.tables.compact(table, dry_run=dry_run)
        forgotten, kept = lake.tables.expire(table, before, named.get(table, ()), dry_run=dry_run)
        yield TableUpkeep(table, merged, size, forgotten, kept)
