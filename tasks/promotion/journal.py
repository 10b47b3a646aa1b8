"""The promotion journal: a change of a line's champion is carried out whole, in MLflow and in the lake's evidence.

Two stores, no common transaction. So what is about to be done is first written down in the lake, with everything its
evidence will say, the aliases as they were among it. Then it is done, then recorded, then crossed out. Whoever works on
the line next finds what was not crossed out and finishes it first: killed anywhere, nothing is half done or unrecorded.

What is written down is signed, for this line and this place in its evidence (`tasks/evidence/pending_promotions.py`):
what somebody else put there, or an old one put there again, is set aside and never carried out.

In the lake the journal keeps its first name: keys below `undertakings/`, documents of the kind `undertaking`. So what
an older Nightscope began and did not finish is finished all the same.

All of this needs `promotion_lock`, so that nobody else moves the line's aliases meanwhile. It is a lock of the whole
installation (`tasks/lake/locks.py`): with more than one machine, `NIGHTSCOPE_LOCKS__URI` must name the same database on
each. MLflow itself has no compare-and-set for aliases, so who lost the lock is stopped before the next change of
champion; what it began, the next holder finds in the journal and finishes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from tasks.errors import DataError, SignatureError
from tasks.lake import Lake
from tasks.lake.conditional import look, put_as_seen
from tasks.lake.object_store import JSON
from tasks.promotion.verdict_rows import verdict_named
from tasks.schemas import Aliases, Answer, EvidenceEntry, Frozen, NightState, Verdict
from tasks.session import Session

if TYPE_CHECKING:
    from tasks.registry import Registry


log = logging.getLogger(__name__)


class PendingPromotion(Frozen):
    """A night's end, a person's promotion or a rollback: what is to be done, and what its evidence will say.

    Its fields are stored, signed, while it waits: their names stay.
    """

    line: str
    action: Literal["night", "promotion", "rollback"]
    key: str
    outcome: NightState
    before: Aliases
    verdict_id: str | None = None
    model_version: str | None = None
    answer: Answer | None = None
    by: str | None = None
    asked_by: str | None = None
    note: str = ""
    override: bool = False


@contextmanager
def promotion_lock(session: Session, line: str) -> Iterator[tuple[Lake, Registry]]:
    """Hold a line's champion for as long as the block lasts; a promotion that was broken off is finished first.

    Yields:
        Lake and registry.
    """
    from tasks.evidence import pending_promotions
    from tasks.lake.locks import lake_lock

    lake, registry = session.lake, session.registry
    with lake_lock(session.settings, f"promote-{line}"):
        registry.settle(line)
        if lake.store.head(pending_promotions.key_of(line)):
            _settle(lake, registry, line)
        yield lake, registry


def commit(lake: Lake, registry: Registry, pending: PendingPromotion) -> EvidenceEntry:
    """Write a change of champion down, carry it out and record it.

    Returns:
        Its evidence.

    Raises:
        NotFound: The line has no such model version.
        ServiceUnavailable, StorageUnavailable: It may be half done; the next `promotion_lock` finishes it.
    """
    from tasks.evidence import chain, pending_promotions

    key = pending_promotions.key_of(pending.line)
    seen = look(lake, key)
    number = len(chain.entries(lake, pending.line)) + 1
    data = pending_promotions.sealed(lake.settings, pending.line, pending, number)
    put_as_seen(lake, key, data, JSON, seen)
    return _carry_out(lake, registry, pending)


def _settle(lake: Lake, registry: Registry, line: str) -> None:
    """Finish what waits, if it is ours and its time is now; else take it out of the way."""
    from tasks.evidence import chain, pending_promotions

    data = lake.store.get_bytes(pending_promotions.key_of(line))
    try:
        opened = pending_promotions.opened(lake.settings, line, data)
        pending = PendingPromotion.model_validate(opened.value)
    except (SignatureError, ValidationError) as error:
        aside = pending_promotions.set_aside(lake, line, data)
        log.warning(
            f"an order for line {line} was waiting that nobody here gave: {error}; it is NOT carried out, and was set "
            f"aside as {aside}. Somebody else can write to the lake: `nightscope verify {line}` says what else changed"
        )
        return
    links = chain.entries(lake, line)
    wanted = chain.evidence_id(line, pending.action, pending.key)
    if done := next((link for link in links if link.evidence_id == wanted), None):
        _record(lake, registry, pending, None)  # what comes after the row, if it was killed there; no alias moves
        log.warning(f"an order for line {line} was carried out before, as evidence {done.number}: crossed out")
    elif opened.number != len(links) + 1:
        aside = pending_promotions.set_aside(lake, line, data)
        log.warning(
            f"an order for line {line} was waiting that was given as evidence {opened.number}, and the next is "
            f"{len(links) + 1}: it is NOT carried out, and was set aside as {aside}"
        )
    else:
        _finish(lake, registry, pending, data)


def _finish(lake: Lake, registry: Registry, pending: PendingPromotion, data: bytes) -> None:
    from tasks.evidence import pending_promotions

    what = f"{pending.action} of {pending.line} ({pending.outcome}, version {pending.model_version})"
    try:
        entry = _carry_out(lake, registry, pending)
    except (DataError, ValueError) as error:
        # Its version or verdict is gone: trying again cannot help, and a rollback must not wait for it.
        now = registry.aliases(pending.line).champion
        if now != pending.before.champion and now in (pending.model_version, None):
            entry = _record(lake, registry, pending, None, f"its verdict or version is gone: {error}")
            log.warning(f"a {what} that was broken off had taken effect: evidence {entry.number}, {error}")
            return
        aside = pending_promotions.set_aside(lake, pending.line, data)
        log.warning(f"a {what} that was broken off cannot be finished: {error}; set aside as {aside}")
    else:
        log.warning(f"a {what} that was broken off is finished: evidence {entry.number}")


def _carry_out(lake: Lake, registry: Registry, pending: PendingPromotion) -> EvidenceEntry:
    """Every step may be repeated; removing the note of it ends it."""
    from tasks.lake.fences import require_held

    line, version = pending.line, pending.model_version
    verdict = verdict_named(lake, pending.verdict_id) if pending.verdict_id else None
    require_held()
    if pending.outcome is NightState.PROMOTED:
        registry.promote(line, str(version), pending.verdict_id)
    elif pending.outcome is NightState.ROLLED_BACK:
        registry.roll_back(line, str(version))
    return _record(lake, registry, pending, verdict)


def _record(
    lake: Lake, registry: Registry, pending: PendingPromotion, verdict: Verdict | None, gap: str = ""
) -> EvidenceEntry:
    """Record what was done, with the aliases as they are now, and cross it out."""
    from tasks import evidence
    from tasks.evidence import pending_promotions

    entry = evidence.record(
        lake,
        registry,
        line=pending.line,
        action=pending.action,
        key=pending.key,
        outcome=pending.outcome,
        verdict=verdict,
        model_version=pending.model_version,
        before=pending.before,
        after=registry.aliases(pending.line),
        answer=pending.answer,
        by=pending.by,
        asked_by=pending.asked_by,
        note="; ".join(filter(None, (pending.note, gap))),
        override=pending.override,
    )
    lake.store.remove(pending_promotions.key_of(pending.line))
    return entry
