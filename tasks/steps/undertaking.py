"""What changes a line's aliases, carried out whole: the aliases in the registry and the evidence in the lake.

Two stores, no common transaction. So what is about to be done is first written down in the lake, with everything its
evidence will say, the aliases as they were among it. Then it is done, then recorded, then crossed out. Whoever works on
the line next finds what was not crossed out and finishes it first: killed anywhere, nothing is half done or unrecorded.

All of this needs the lock that `command` takes, so that nobody else moves the line's aliases meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from tasks.config import Settings
from tasks.errors import DataError
from tasks.lake import Lake, open_lake
from tasks.schemas import Aliases, Answer, EvidenceEntry, Frozen, NightState, digest
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
    note: str = ""
    override: bool = False


@contextmanager
def command(settings: Settings, line: str) -> Iterator[tuple[Lake, Registry]]:
    """Take command of a line's aliases, for as long as the block lasts; what was broken off is finished first.

    Yields:
        Lake and registry.
    """
    from tasks.lake.locks import lake_lock
    from tasks.registry import open_registry

    lake, registry = open_lake(settings), open_registry(settings)
    with lake_lock(settings, f"promote-{line}"):
        registry.settle(line)
        where = _where(line)
        if lake.store.head(where):
            _finish(lake, registry, Undertaking.model_validate_json(lake.store.get_bytes(where)))
        yield lake, registry


def undertake(lake: Lake, registry: Registry, undertaking: Undertaking) -> EvidenceEntry:
    """Do it and record it.

    Returns:
        Its evidence.

    Raises:
        NotFound: The line has no such model version.
        ServiceUnavailable, StorageUnavailable: Half done, perhaps; the next `command` finishes it.
    """
    lake.store.put_bytes(_where(undertaking.line), undertaking.model_dump_json().encode(), JSON)
    return _carry_out(lake, registry, undertaking)


def _finish(lake: Lake, registry: Registry, undertaking: Undertaking) -> None:
    what = f"{undertaking.action} of {undertaking.line} ({undertaking.outcome}, version {undertaking.model_version})"
    try:
        entry = _carry_out(lake, registry, undertaking)
    except DataError as error:
        # Its version or verdict is gone: trying again cannot help, and a rollback must not wait for it.
        aside = f"{_where(undertaking.line).removesuffix('.json')}/{digest(undertaking.key)[:16]}.json"
        lake.store.put_bytes(aside, undertaking.model_dump_json().encode(), JSON)
        lake.store.remove(_where(undertaking.line))
        print(f"a {what} that was broken off cannot be finished: {error}; set aside as {aside}", flush=True)
    else:
        print(f"a {what} that was broken off is finished: evidence {entry.number}", flush=True)


def _carry_out(lake: Lake, registry: Registry, undertaking: Undertaking) -> EvidenceEntry:
    """Every step may be repeated; removing the note of it ends it."""
    from tasks import evidence

    line, version = undertaking.line, undertaking.model_version
    verdict = verdict_named(lake, undertaking.verdict_id) if undertaking.verdict_id else None
    if undertaking.outcome is NightState.PROMOTED:
        registry.promote(line, str(version), undertaking.verdict_id)
    elif undertaking.outcome is NightState.ROLLED_BACK:
        registry.roll_back(line, str(version))
    entry = evidence.record(
        lake,
        registry,
        line=line,
        action=undertaking.action,
        key=undertaking.key,
        outcome=undertaking.outcome,
        verdict=verdict,
        model_version=version,
        before=undertaking.before,
        after=registry.aliases(line),
        answer=undertaking.answer,
        by=undertaking.by,
        note=undertaking.note,
        override=undertaking.override,
    )
    lake.store.remove(_where(line))
    return entry


def _where(line: str) -> str:
    return f"undertakings/{line}.json"
