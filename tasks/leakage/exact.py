"""What stands in two splits by name or hash: groups, recordings, frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from tasks.leakage.findings import Finding, Side
from tasks.leakage.pair_id import Kind

Row = dict[str, Any]
COLUMNS = ("split", "group", "recording_id", "recording_name", "frame_index", "frame_oid")
"""Of the rows that are audited, one per frame."""
_EXACT: tuple[tuple[Kind, str, str], ...] = (
    ("group", "group", "both belong to {}"),
    ("recording", "recording_id", "both are of recording {}"),
    ("blob", "frame_oid", "both are the file {}"),
)


def in_two_splits(rows: Sequence[Row]) -> list[Finding]:
    """Find groups, recordings and frames in more than one split, each with the first row of two splits."""
    findings = []
    for kind, column, why in _EXACT:
        places: dict[str, dict[str, Row]] = defaultdict(dict)
        for row in rows:
            places[row[column]].setdefault(row["split"], row)
        for value, by_split in sorted(places.items()):
            first, *others = by_split.values()
            reason = why.format(value if column == "group" else value[:12])
            findings += [Finding(kind, side_of(first), side_of(other), reason) for other in others]
    return findings


def side_of(row: Row) -> Side:
    """A row as one side of a finding."""
    return Side(**{name: row[name] for name in COLUMNS})
