"""Names behind pseudonyms, on the machine where the recordings were added."""

from __future__ import annotations

from tasks.errors import NotFound
from tasks.schemas import Frozen
from tasks.session import Session


class ResolvedName(Frozen):
    """A pseudonym, and the name behind it."""

    pseudonym: str
    clear: str


def resolve_names(session: Session, names: list[str]) -> list[ResolvedName]:
    """Look names up in the table of pseudonyms that this machine keeps.

    Args:
        session: Whose table.
        names: Pseudonyms or clear names to look up; none: all.

    Raises:
        NotFound: One of the names is in neither column.
    """
    from tasks.lake.pseudonyms import known_names

    known = known_names(session.settings)
    unknown = [name for name in names if name not in known and name not in known.values()]
    if unknown:
        raise NotFound(
            f"pseudonym {unknown[0]!r}: this machine knows no such name or pseudonym",
            fix="look on the machine where the recordings were added",
        )
    rows = [ResolvedName(pseudonym=pseudonym, clear=clear) for pseudonym, clear in known.items()]
    chosen = [row for row in rows if not names or row.pseudonym in names or row.clear in names]
    return sorted(chosen, key=lambda row: row.clear)
