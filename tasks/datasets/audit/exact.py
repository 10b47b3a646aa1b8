"""What stands in two splits by name or hash: groups, recordings, frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from tasks.datasets.audit.findings import Finding, Kind, Side

Row = dict[str, Any]
_COLUMNS: tuple[tuple[Kind, str, str], ...] = (
    ("group", "group", "both belong to {}"),
    ("recording", "recording_id", "both are of recording {}"),
    ("blob", "frame_oid", "both are the file {}"),
)


def in_two_splits(rows: Sequence[Row]) -> list[Finding]:
    """Groups, recordings and frames that stand in more than one split, each with the first row of two splits."""
    found = []
    for kind, column, why in _COLUMNS:
        places: dict[str, dict[str, Row]] = defaultdict(dict)
        for row in rows:
            places[row[column]].setdefault(row["split"], row)
        for value, by_split in sorted(places.items()):
            first, *others = by_split.values()
            said = value if column == "group" else value[:12]
            found += [Finding(kind, side_of(first), side_of(other), why.format(said)) for other in others]
    return found


def side_of(row: Row) -> Side:
    """A row as one side of a finding."""
    names = ("split", "group", "recording_id", "recording_name", "frame_index", "frame_oid")
    return Side(**{name: row[name] for name in names})
