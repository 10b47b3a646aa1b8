"""How far each line's evidence had come, as this machine has seen it: outside S3, where nobody with its key can cut it.

A chain only grows. One that is shorter than it was, or holds another bundle where this machine has seen one, was cut
or written anew; that is remembered here for good (`lost`), until the bundle is back in its place.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from tasks.config import Settings
from tasks.errors import ConfigError
from tasks.lake.locks import lake_lock
from tasks.private_files import write_private
from tasks.schemas import EvidenceEntry, Frozen, Oid, now

log = logging.getLogger(__name__)


class Place(Frozen):
    """A bundle and its number."""

    number: int
    bundle_oid: Oid
    at: str


class Known(Frozen):
    """What this machine knows of a line's evidence."""

    head: Place
    signed_from: int | None = None
    lost: tuple[Place, ...] = ()


_FILE = TypeAdapter(dict[str, Known])


def read(settings: Settings) -> dict[str, Known]:
    """Line → what this machine has seen of its evidence.

    Raises:
        ConfigError: The file is damaged.
    """
    try:
        return _FILE.validate_json(settings.heads.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValidationError, ValueError, OSError) as error:
        raise ConfigError(f"{settings.heads}: cannot be read ({type(error).__name__})", fix="restore it") from error


def lost_of(known: Known | None, rows: Sequence[EvidenceEntry]) -> tuple[Place, ...]:
    """The bundles that this machine has seen in the chain and that are not in their place there any more."""
    if known is None:
        return ()
    there = {(row.number, row.bundle_oid) for row in rows}
    return tuple(one for one in (*known.lost, known.head) if (one.number, one.bundle_oid) not in there)


def note(
    settings: Settings, line: str, rows: Sequence[EvidenceEntry], signed_from: int | None = None
) -> tuple[Place, ...]:
    """Remember how far a line's chain has come.

    Args:
        settings: Of this machine.
        line: Whose chain.
        rows: All of it, by number.
        signed_from: Evidence of it that is surely signed, by this machine or as was checked.

    Returns:
        What is missing of it (see `lost_of`).
    """
    with lake_lock(settings, "heads"):
        try:
            everything = read(settings)
        except ConfigError as error:
            aside = settings.heads.with_suffix(".damaged")
            settings.heads.replace(aside)
            log.warning(f"{error}; moved to {aside}, and begun anew")
            everything = {}
        known = everything.get(line)
        lost = lost_of(known, rows)
        if not rows:
            return lost
        signed = [one for one in (signed_from, known.signed_from if known else None) if one is not None]
        newest = Place(number=rows[-1].number, bundle_oid=rows[-1].bundle_oid, at=now().isoformat())
        here = known and (known.head.number, known.head.bundle_oid) == (newest.number, newest.bundle_oid)
        head = known.head if known and here else newest
        made = Known(head=head, lost=lost, signed_from=min(signed, default=None))
        if made != known:
            everything[line] = made
            write_private(settings.heads, _FILE.dump_json(everything, indent=1) + b"\n")
    return lost
