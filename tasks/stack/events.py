"""What `up` and `down` tell of while they work, for whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """A service changed.

    Attributes:
        service: Its name; 'stack' for what concerns all.
        state: 'preparing', 'starting', 'running', 'external', 'failed', 'stopped', or 'note' (only `note` matters).
        seconds: Since `up` or `down` began.
        note: More, for a person: another port, a migration, a leftover.
    """

    service: str
    state: str
    seconds: float
    note: str = ""


def silent(_event: Event) -> None:
    """Tells nobody."""
