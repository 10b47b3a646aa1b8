"""What was set aside because it is bad, with its reason. The night goes on without it."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.lake.lake import Lake
from tasks.schemas import QuarantineItem


def set_aside(lake: Lake, items: Sequence[QuarantineItem]) -> int:
    """Put items into quarantine; those whose id is already there are not put twice.

    Returns:
        How many are new.
    """
    return lake.tables.append("quarantine", items, key="item_id")


def listed(lake: Lake, line: str | None = None) -> list[QuarantineItem]:
    """Everything in quarantine, oldest first.

    Args:
        lake: The lake.
        line: Only what concerns this line: its own items, and those that belong to no line (bad recordings).
    """
    where = None if line is None else {"line": [line, None]}
    return sorted(lake.tables.rows("quarantine", QuarantineItem, where), key=lambda item: (item.at, item.item_id))
