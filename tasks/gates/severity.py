"""Which decision outweighs which."""

from __future__ import annotations

from collections.abc import Iterable

from tasks.schemas import Decision

SEVERITY = (Decision.PROMOTE, Decision.HOLD, Decision.INSUFFICIENT_DATA, Decision.REJECT)
"""From best to worst."""


def worst(decisions: Iterable[Decision]) -> Decision:
    """The decision that counts among several."""
    return max(decisions, key=SEVERITY.index)
