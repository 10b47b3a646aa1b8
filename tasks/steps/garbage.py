"""Keep the lake quick and small: its tables, what killed steps left behind, and what this machine can make again."""

from __future__ import annotations

import logging

from tasks.config import load_lines
from tasks.schemas import Frozen
from tasks.session import Session

log = logging.getLogger(__name__)


class CollectedGarbage(Frozen):
    """What was removed (in a dry run: what would be), and what is too young to be."""

    removed: int
    size_bytes: int
    kept_young: int


class MaintainedTables(Frozen):
    """Of each table that something was done to (in a dry run: would be): small files merged, snapshots forgotten."""

    merged: dict[str, int]
    forgotten: dict[str, int]


class FreedSpace(Frozen):
    """What went of this machine's caches and scratch, or would go: how many files and folders of each area."""

    pieces: dict[str, int]
    size_bytes: int
    kept_bytes: int


def maintain_tables(session: Session, *, dry_run: bool = False) -> MaintainedTables:
    """Make few files of the tables' many small ones, and forget old snapshots that no dataset version names.

    Raises:
        DataError: The record of a dataset version cannot be read: then no snapshot is forgotten.
    """
    from tasks.lake.upkeep import maintain

    done = list(maintain(session.lake, dry_run=dry_run))
    for one in done:
        if one.merged or one.forgotten:
            log.info(
                f"{'would be' if dry_run else 'is'} done to table {one.table}: {one.merged} files "
                f"({one.merged_bytes / 1e6:.1f} MB) merged; {one.forgotten} snapshots forgotten, {one.kept} kept"
            )
    return MaintainedTables(
        merged={one.table: one.merged for one in done if one.merged},
        forgotten={one.table: one.forgotten for one in done if one.forgotten},
    )


def collect_garbage(session: Session, *, dry_run: bool = False) -> CollectedGarbage:
    """Remove blobs that nothing names and that are older than the grace period; a dry run only counts them.

    Raises:
        ConfigError: A line's file is wrong, and may name weights: then nothing is removed.
    """
    from tasks.lake.gc import collect

    changes = [line.recipe.changes for line in load_lines(session.settings.lines_dir)]
    weights = [str(each.get(key)) for each in changes for key in ("weights", "teacher", "denoiser")]
    report = collect(session.lake, dry_run=dry_run, protected=weights)
    count = len(report.unreferenced) + len(report.table_files)
    log.info(f"{_verb(dry_run)}: {count} objects that nothing names, {report.size_bytes / 1e6:.1f} MB")
    return CollectedGarbage(removed=count, size_bytes=report.size_bytes, kept_young=report.kept_young)


def free_local_space(session: Session, *, dry_run: bool = False) -> FreedSpace:
    """Remove caches and scratch that were not used for long or are too much (`Settings.local_space`).

    Raises:
        StorageUnavailable: Something is at work on this machine whose folders might go; nothing was removed.
    """
    from tasks.lake.local_space import free

    found = free(session.settings, dry_run=dry_run)
    what = ", ".join(f"{count} of {area}" for area, count in found.pieces.items())
    log.info(f"{_verb(dry_run)}: {what}; {found.size_bytes / 1e6:.1f} MB, {found.kept_bytes / 1e6:.1f} MB stay")
    return FreedSpace(pieces=found.pieces, size_bytes=found.size_bytes, kept_bytes=found.kept_bytes)


def _verb(dry_run: bool) -> str:
    return "would go" if dry_run else "gone"
