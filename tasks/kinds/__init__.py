"""The kinds of line: one folder each, all after the protocol in `tasks/kind/`. No kind knows of another.

`steps` asks here for the kind of a line, and hands it to the rooms below.
"""

from __future__ import annotations

from tasks.kind import Kind
from tasks.known_kinds import known_kinds


def kind_of(name: str) -> Kind:
    """The kind of that name.

    Raises:
        ConfigError: There is none; naming those that there are.
    """
    return Kind.named(name)


def kinds() -> tuple[Kind, ...]:
    """All kinds, the shipped ones first.

    Raises:
        ConfigError: Two places have a kind of the same name.
    """
    return tuple(Kind(place) for place in known_kinds().values())
