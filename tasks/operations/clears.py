"""Pairs that the leak audit refused: a person looks at one, clears it, or takes that back."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

from tasks.lake import Lake
from tasks.operations.who import os_user
from tasks.schemas import Frozen, Oid
from tasks.session import Session


class RefusedPair(Frozen):
    """A pair of recordings that an audit refused."""

    line: str
    pair_id: str
    finding: dict[str, Any]
    clearable: bool
    history: dict[str, Any] | None
    """What people decided about it; None: nothing yet."""
    result_oid: Oid
    report_oid: Oid
    report: str
    """The address of the report that shows it."""


class ClearHistory(Frozen):
    """What people decided about a pair."""

    model_config = ConfigDict(frozen=True, extra="allow")  # the clear's own fields come beside these

    line: str
    names: tuple[str | None, ...]
    """The recordings' names; an erased recording has none."""
    active: bool
    revoked: dict[str, Any] | None
    """The entry that revoked it."""
    events: tuple[dict[str, Any], ...]
    """Every entry, oldest first."""


class IgnoredClear(Frozen):
    """A file that does not count, and why."""

    key: str
    why: str


class ListedClears(Frozen):
    """What people cleared and revoked of a line."""

    line: str
    clears: tuple[ClearHistory, ...]
    ignored: tuple[IgnoredClear, ...]


def refused_pair(session: Session, line: str, pair: str) -> RefusedPair:
    """Find a pair that an audit of the line refused, by its id.

    Raises:
        ConfigError: There is no such line.
        NotFound: No audit on record refused such a pair.
    """
    from tasks.leakage.clears import read_clears
    from tasks.leakage.filing import find_refused
    from tasks.leakage.pair_id import CLEARABLE

    lake = _lake_of(session, line)
    finding, audit = find_refused(lake, line, pair)
    history = read_clears(lake, line).histories.get(pair)
    return RefusedPair(
        line=line,
        pair_id=pair,
        finding=finding.as_json(),
        clearable=finding.kind in CLEARABLE,
        history=history.as_json() if history else None,
        result_oid=audit.result_oid,
        report_oid=audit.report_oid,
        report=lake.blobs.uri(audit.report_oid),
    )


def clear_pair(session: Session, line: str, pair: str, *, note: str, by: str | None = None) -> ClearHistory:
    """Record that a person decided that two recordings are not copies, though an audit refused them.

    Args:
        session: Whose lake and lines.
        line: Whose audit refused the pair; no other line's audit heeds the clear.
        pair: The pair's id.
        note: The person's reason.
        by: The person; None: the operating system's user.

    Returns:
        The clear, with its history and the recordings' names.

    Raises:
        ConfigError: The finding is exact, the note is empty, the pair is cleared already, or there is no such line.
        NotFound: No audit on record refused such a pair.
    """
    from tasks.leakage import clears
    from tasks.leakage.filing import find_refused

    lake = _lake_of(session, line)
    finding, audit = find_refused(lake, line, pair)
    seen = (audit.result_oid, audit.report_oid)
    history = clears.clear_pair(lake, line, finding, by=by or os_user(), note=note, seen=seen)
    return _with_names(lake, line, history.as_json())


def revoke_clear(session: Session, line: str, pair: str, *, note: str, by: str | None = None) -> ClearHistory:
    """Take a clear back, so that audits refuse the pair again. A model that has been trained meanwhile stays.

    Raises:
        NotFound: The pair is not cleared.
        ConfigError: The note is empty, or there is no such line.
    """
    from tasks.leakage import clears

    lake = _lake_of(session, line)
    history = clears.revoke_clear(lake, line, pair, by=by or os_user(), note=note)
    return _with_names(lake, line, history.as_json())


def list_clears(session: Session, line: str) -> ListedClears:
    """List what people cleared and revoked of a line.

    Returns:
        `line`; `clears`, each with `active`, `revoked` and all `events`; `ignored`: files that do not count, with `key`
        and `why`.
    """
    from tasks.leakage.clears import read_clears

    lake = _lake_of(session, line)
    known = read_clears(lake, line)
    return ListedClears(
        line=line,
        clears=tuple(_with_names(lake, line, history.as_json()) for _, history in sorted(known.histories.items())),
        ignored=tuple(IgnoredClear(key=key, why=why) for key, why in known.ignored),
    )


def _lake_of(session: Session, line: str) -> Lake:
    session.line(line)  # its error names the lines that there are
    return session.lake


def _with_names(lake: Lake, line: str, clear: dict[str, Any]) -> ClearHistory:
    """The clear with the names of its recordings; an erased recording has none."""
    oids: list[Oid] = list(clear["recordings"])
    rows = lake.tables.scan("recordings", {"recording_id": oids}, columns=["recording_id", "name"])
    names = dict(zip(rows.column("recording_id").to_pylist(), rows.column("name").to_pylist(), strict=True))
    return ClearHistory(**{**clear, "line": line, "names": tuple(names.get(oid) for oid in oids)})
