"""What changes a line's aliases, carried out whole: the aliases in the registry and the evidence in the lake.

Two stores, no common transaction. So what is about to be done is first written down in the lake, with everything its
evidence will say, the aliases as they were among it. Then it is done, then recorded, then crossed out. Whoever works on
the line next finds what was not crossed out and finishes it first: killed anywhere, nothing is half done or unrecorded.

What is written down is signed, for this line and this place in its evidence (`tasks/evidence/orders.py`): an order that
somebody else put there, or an old one put there again, is set aside and never carried out.

All of this needs the lock that `command` takes, so that nobody else moves the line's aliases meanwhile. It is a file's
lock, and holds on one machine. Between machines nothing takes turns but Airflow's pool `promotion`, which the nights'
`promote_model` and the DAGs *Promote a model* and *Roll back a model* share. So orders (`nightscope promote`,
`nightscope rollback`, `nightscope step promote-model`) must run on the machine of the Airflow workers that serve the
pool `promotion`, or go through these DAGs. `evaluate_models` takes command too, to finish what was broken off, and is
not in that pool: its workers belong on the same machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from tasks.config import Settings
from tasks.errors import DataError, SignatureError
from tasks.lake import Lake, open_lake
from tasks.schemas import Aliases, Answer, EvidenceEntry, Frozen, NightState, Verdict
from tasks.steps.verdicts import JSON, verdict_named

if TYPE_CHECKING:
    from tasks.registry import Registry


class Undertaking(Frozen):
    """A night's end, a person's promotion or a rollback: what is to be done, and what its evidence will say."""

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
def command(settings: Settings, line: str) -> Iterator[tuple[Lake, Registry]]:
    """Take command of a line's aliases, for as long as the block lasts; what was broken off is finished first.

    Yields:
        Lake and registry.
    """
    from tasks.evidence import orders
    from tasks.lake.locks import lake_lock
    from tasks.registry import open_registry

    lake, registry = open_lake(settings), open_registry(settings)
    with lake_lock(settings, f"promote-{line}"):
        registry.settle(line)
        if lake.store.head(orders.key_of(line)):
            _settle(lake, registry, line)
        yield lake, registry


def undertake(lake: Lake, registry: Registry, undertaking: Undertaking) -> EvidenceEntry:
    """Do it and record it.

    Returns:
        Its evidence.

    Raises:
        NotFound: The line has no such model version.
        ServiceUnavailable, StorageUnavailable: Half done, perhaps; the next `command` finishes it.
    """
    from tasks.evidence import chain, orders

    number = len(chain.entries(lake, undertaking.line)) + 1
    data = orders.sealed(lake.settings, undertaking.line, undertaking, number)
    lake.store.put_bytes(orders.key_of(undertaking.line), data, JSON)
    return _carry_out(lake, registry, undertaking)


def _settle(lake: Lake, registry: Registry, line: str) -> None:
    """Finish what waits, if it is ours and its time is now; else take it out of the way."""
    from tasks.evidence import chain, orders

    data = lake.store.get_bytes(orders.key_of(line))
    try:
        opened = orders.opened(lake.settings, line, data)
        undertaking = Undertaking.model_validate(opened.value)
    except (SignatureError, ValidationError) as error:
        aside = orders.set_aside(lake, line, data)
        print(
            f"an order for line {line} was waiting that nobody here gave: {error}; it is NOT carried out, and was set "
            f"aside as {aside}. Somebody else can write to the lake: `nightscope verify {line}` says what else changed",
            flush=True,
        )
        return
    links = chain.entries(lake, line)
    wanted = chain.evidence_id(line, undertaking.action, undertaking.key)
    if done := next((link for link in links if link.evidence_id == wanted), None):
        _record(lake, registry, undertaking, None)  # what comes after the row, if it was killed there; no alias moves
        print(f"an order for line {line} was carried out before, as evidence {done.number}: crossed out", flush=True)
    elif opened.number != len(links) + 1:
        aside = orders.set_aside(lake, line, data)
        print(
            f"an order for line {line} was waiting that was given as evidence {opened.number}, and the next is "
            f"{len(links) + 1}: it is NOT carried out, and was set aside as {aside}",
            flush=True,
        )
    else:
        _finish(lake, registry, undertaking, data)


def _finish(lake: Lake, registry: Registry, undertaking: Undertaking, data: bytes) -> None:
    from tasks.evidence import orders

    what = f"{undertaking.action} of {undertaking.line} ({undertaking.outcome}, version {undertaking.model_version})"
    try:
        entry = _carry_out(lake, registry, undertaking)
    except (DataError, ValueError) as error:
        # Its version or verdict is gone: trying again cannot help, and a rollback must not wait for it.
        now = registry.aliases(undertaking.line).champion
        if now != undertaking.before.champion and now in (undertaking.model_version, None):
            entry = _record(lake, registry, undertaking, None, f"its verdict or version is gone: {error}")
            print(f"a {what} that was broken off had taken effect: evidence {entry.number}, {error}", flush=True)
            return
        aside = orders.set_aside(lake, undertaking.line, data)
        print(f"a {what} that was broken off cannot be finished: {error}; set aside as {aside}", flush=True)
    else:
        print(f"a {what} that was broken off is finished: evidence {entry.number}", flush=True)


def _carry_out(lake: Lake, registry: Registry, undertaking: Undertaking) -> EvidenceEntry:
    """Every step may be repeated; removing the note of it ends it."""
    line, version = undertaking.line, undertaking.model_version
    verdict = verdict_named(lake, undertaking.verdict_id) if undertaking.verdict_id else None
    if undertaking.outcome is NightState.PROMOTED:
        registry.promote(line, str(version), undertaking.verdict_id)
    elif undertaking.outcome is NightState.ROLLED_BACK:
        registry.roll_back(line, str(version))
    return _record(lake, registry, undertaking, verdict)


def _record(
    lake: Lake, registry: Registry, undertaking: Undertaking, verdict: Verdict | None, gap: str = ""
) -> EvidenceEntry:
    """Record what was done, with the aliases as they are now, and cross it out."""
    from tasks import evidence
    from tasks.evidence import orders

    entry = evidence.record(
        lake,
        registry,
        line=undertaking.line,
        action=undertaking.action,
        key=undertaking.key,
        outcome=undertaking.outcome,
        verdict=verdict,
        model_version=undertaking.model_version,
        before=undertaking.before,
        after=registry.aliases(undertaking.line),
        answer=undertaking.answer,
        by=undertaking.by,
        asked_by=undertaking.asked_by,
        note="; ".join(filter(None, (undertaking.note, gap))),
        override=undertaking.override,
    )
    lake.store.remove(orders.key_of(undertaking.line))
    return entry
