"""Remove what killed steps left behind in the lake."""

from __future__ import annotations

from tasks.config import load_lines
from tasks.schemas import Frozen
from tasks.session import Session


class CollectedGarbage(Frozen):
    """What was removed, and what is too young to be."""

    removed: int
    size_bytes: int
    kept_young: int


def collect_garbage(session: Session) -> CollectedGarbage:
    """Remove blobs that nothing names and that are older than the grace period.

    Raises:
        ConfigError: A line's file is wrong, and may name weights: then nothing is removed.
    """
    from tasks.lake.gc import collect

    weights = [str(line.recipe.changes.get("weights")) for line in load_lines(session.settings.lines_dir)]
    report = collect(session.lake, dry_run=False, protected=weights)
    return CollectedGarbage(removed=report.removed, size_bytes=report.size_bytes, kept_young=report.kept_young)
