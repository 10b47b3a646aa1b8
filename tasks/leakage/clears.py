"""Clears in the lake: `clears/<line>/<pair id>.json`, one signed file for each pair of recordings and kind of finding.

A file holds the whole history of its pair: who cleared it, who revoked that, who cleared it again. The last entry
counts. A file that no trusted key vouches for is ignored and named, and so is one that was signed for another line or
another pair: S3 alone decides nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import ValidationError

from tasks.errors import ConfigError, NotFound, SignatureError
from tasks.escaping import plain_text, visible_name
from tasks.lake import Lake
from tasks.lake.conditional import Seen, look
from tasks.lake.locks import lake_lock
from tasks.lake.object_store import ObjectInfo
from tasks.lake.signed import keep, open_json
from tasks.leakage.clear import Clear
from tasks.leakage.findings import WHAT, Finding
from tasks.leakage.pair_id import CLEARABLE, ClearableKind, pair_id, pair_of
from tasks.schemas import Frozen, Oid, now

log = logging.getLogger(__name__)
SIGNED_AS = "clear"
_PREFIX = "clears"
_LONGEST_NOTE = 500
_MOST_BYTES = 256_000
_LONGEST_REASON = 300


class _Event(Frozen):
    """One entry of a pair's history. Result and report are those of the audit that a clear is about."""

    action: Literal["clear", "revoke"]
    by: str
    at: str
    note: str
    result_oid: Oid = ""
    report_oid: Oid = ""

    def as_json(self) -> dict[str, str]:
        return self.model_dump()


class _Record(Frozen):
    """What a file holds."""

    kind: ClearableKind
    recordings: tuple[Oid, Oid]
    events: tuple[_Event, ...]


@dataclass(frozen=True)
class History:
    """All that people decided about one pair.

    Attributes:
        clear: The clear that counts, or counted until it was revoked.
        revoked: The entry that revoked it: `by`, `at`, `note`; None: the clear counts.
        events: Every entry, oldest first.
        signed: The file.
    """

    clear: Clear
    revoked: dict[str, str] | None
    events: tuple[dict[str, str], ...]
    signed: bytes = field(default=b"", repr=False)

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {**self.clear.as_json(), "active": self.revoked is None, "revoked": self.revoked, "events": self.events}


@dataclass(frozen=True)
class Clears:
    """What there is for a line.

    Attributes:
        histories: By pair id.
        ignored: Keys of files that do not count, and why.
    """

    histories: dict[str, History]
    ignored: tuple[tuple[str, str], ...]

    def active(self, recordings: Collection[Oid]) -> list[Clear]:
        """The clears that count and are about two of these recordings, in the order of their ids."""
        known = set(recordings)
        return [
            history.clear
            for _, history in sorted(self.histories.items())
            if history.revoked is None and known.issuperset(history.clear.recordings)
        ]


def key_of(line: str, pair: str) -> str:
    """Where the clears of a pair are in the lake's bucket."""
    return f"{_PREFIX}/{line}/{pair}.json"


def read_clears(lake: Lake, line: str) -> Clears:
    """Read what people decided about a line's pairs. Whatever is not ours is ignored, named and logged."""
    histories: dict[str, History] = {}
    ignored: list[tuple[str, str]] = []
    for info in lake.store.list(f"{_PREFIX}/{line}/"):
        try:
            history = _read(lake, line, info)
        except NotFound:  # it was removed a moment ago
            continue
        except (SignatureError, ValueError) as error:
            why = f"is not a clear: {error.errors()[0]['msg']}" if isinstance(error, ValidationError) else str(error)
            ignored.append((visible_name(info.key), plain_text(why, _LONGEST_REASON)))
            log.warning("%s is ignored and clears nothing: %s", *ignored[-1])
            continue
        histories[history.clear.pair_id] = history
    return Clears(histories, tuple(ignored))


def clear_pair(lake: Lake, line: str, finding: Finding, *, by: str, note: str, seen: tuple[Oid, Oid]) -> History:
    """Record that a person cleared a finding's pair of recordings for this kind of finding.

    Args:
        lake: Where it is recorded.
        line: Whose audit found the pair. No other line's audit heeds the clear.
        finding: What the audit found.
        by: The person.
        note: The person's reason.
        seen: Result and report of the audit that found it.

    Raises:
        ConfigError: The finding is exact, the note is empty, or the pair is cleared already.
    """
    if finding.kind not in CLEARABLE:
        raise ConfigError(
            f"pair {finding.pair_id} of line {line}: {WHAT[finding.kind]}, which nobody can clear: it is the same by "
            f"name or by its bytes ({finding})",
            expected="a pair that was found by how it looks: the same clip, a part of one, nearly the same frame",
            found=f"kind {finding.kind!r}",
            fix="delete the labels of the one in the test (or val) split in Label Studio; recordings that belong "
            "together need the same donor when they are added",
        )
    clean = _note(note, f"pair {finding.pair_id} of line {line} cannot be cleared")
    with lake_lock(lake.settings, f"clears-{line}"):
        before = look(lake, key_of(line, finding.pair_id))
        known = read_clears(lake, line).histories.get(finding.pair_id)
        if known is not None and known.revoked is None:
            raise ConfigError(
                f"pair {finding.pair_id} of line {line}: is cleared already",
                found=f"by {known.clear.by} at {known.clear.at}: {known.clear.note}",
                fix=f"`nightscope audit revoke {line} {finding.pair_id} --note ...` takes that back",
            )
        result_oid, report_oid = seen
        event = _Event(
            action="clear", by=by, at=now().isoformat(), note=clean, result_oid=result_oid, report_oid=report_oid
        )
        return _write(lake, line, finding, known, event, before)


def revoke_clear(lake: Lake, line: str, pair: str, *, by: str, note: str) -> History:
    """Take a clear back: the audit refuses the pair again.

    Raises:
        NotFound: The pair is not cleared.
        ConfigError: The note is empty.
    """
    clean = _note(note, f"the clear of pair {pair} of line {line} cannot be revoked")
    with lake_lock(lake.settings, f"clears-{line}"):
        before = look(lake, key_of(line, pair))
        known = read_clears(lake, line).histories.get(pair)
        if known is None or known.revoked is not None:
            raise NotFound(
                f"pair {pair} of line {line}: is not cleared",
                found=f"revoked by {known.revoked['by']} at {known.revoked['at']}" if known and known.revoked else None,
                fix=f"`nightscope audit clears {line}` lists what is",
            )
        event = _Event(action="revoke", by=by, at=now().isoformat(), note=clean)
        return _write(lake, line, known.clear, known, event, before)


def recorded(lake: Lake, clears: Clears, clear: Clear) -> Clear:
    """Keep the signed record of a clear as a blob, so that what rests on it can name it by hash for ever."""
    return replace(clear, record_oid=lake.blobs.put_bytes(clears.histories[clear.pair_id].signed, "application/json"))


def open_record(lake: Lake, line: str, clear: Clear) -> History:
    """Read the signed record that a clear names, as `verify` does.

    Raises:
        NotFound, IntegrityError: The blob is gone, or is not what its hash says.
        SignatureError: No trusted key vouches for it, for this line and this pair, or it is about something else.
    """
    history = _open(lake, line, clear.pair_id, lake.blobs.get_bytes(clear.record_oid))
    if history.revoked is not None or replace(history.clear, record_oid=clear.record_oid) != clear:
        raise SignatureError(
            f"clear of pair {clear.pair_id}: its signed record is about something else",
            expected=f"{clear.by}, {clear.at}: {clear.note}",
            found=f"{history.clear.by}, {history.clear.at}: {history.clear.note}",
        )
    return history


def _read(lake: Lake, line: str, info: ObjectInfo) -> History:
    if info.size_bytes > _MOST_BYTES:
        raise ValueError(f"is larger than {_MOST_BYTES:,} bytes")
    pair = info.key.rpartition("/")[2].removesuffix(".json")
    if info.key != key_of(line, pair):
        raise ValueError("is not named like a clear")
    return _open(lake, line, pair, lake.store.get_bytes(info.key))


def _open(lake: Lake, line: str, pair: str, data: bytes) -> History:
    record = _Record.model_validate(open_json(lake.settings, data, SIGNED_AS, line, key_of(line, pair)).value)
    return replace(_history(record, pair), signed=data)


def _history(record: _Record, pair: str) -> History:
    recordings = pair_of(*record.recordings)
    clears = [event for event in record.events if event.action == "clear"]
    if pair_id(record.kind, recordings) != pair or not clears:
        raise ValueError("is about another pair, or clears nothing")
    given, newest = clears[-1], record.events[-1]
    clear = Clear(record.kind, recordings, given.by, given.at, given.note, given.result_oid, given.report_oid)
    return History(clear, None if newest is given else newest.as_json(), tuple(one.as_json() for one in record.events))


def _write(
    lake: Lake, line: str, about: Finding | Clear, known: History | None, event: _Event, before: Seen | None
) -> History:
    """Add an entry to a pair's history, sign the whole, and store it."""
    recordings = about.pair if isinstance(about, Finding) else about.recordings
    earlier = known.events if known else ()
    record = _Record.model_validate(
        {"kind": about.kind, "recordings": recordings, "events": [*earlier, event.model_dump()]}
    )
    key = key_of(line, about.pair_id)
    keep(lake, SIGNED_AS, line, key, record.model_dump(mode="json"), before)
    return _history(record, about.pair_id)


def _note(note: str, thing: str) -> str:
    clean = plain_text(note, _LONGEST_NOTE)
    if not clean:
        raise ConfigError(
            f"{thing} without a reason", expected="a note that says why", found="an empty one", fix="--note '...'"
        )
    return clean
