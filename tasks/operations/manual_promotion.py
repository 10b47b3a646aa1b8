"""Promotion by hand, and the way back. Both take a second, and are recorded as evidence."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING
from uuid import uuid4

from tasks.config import LINE_NAME
from tasks.errors import DataError, NotFound
from tasks.escaping import plain_text
from tasks.lake import Lake
from tasks.operations.promotion_blockers import needs_second_person, promotion_blockers
from tasks.promotion.gate_overrides import override_of
from tasks.promotion.in_charge import champion_of, was_in_charge
from tasks.promotion.journal import PendingPromotion, commit, promotion_lock
from tasks.promotion.verdict_rows import newest_verdict, verdict_if_there
from tasks.schemas import Aliases, EvidenceEntry, Frozen, NightState
from tasks.session import Session

if TYPE_CHECKING:
    from tasks.registry import ModelRecord, Registry

log = logging.getLogger(__name__)


class ManualPromotion(Frozen):
    """A change of champion that a person made."""

    line: str
    action: str
    model_version: str | None
    before: str | None
    """The version that was in charge until now."""
    evidence: int
    """The number of its evidence."""
    verdict_id: str | None
    by: str | None
    note: str
    at: str
    undo: str | None
    """The command that takes it back; None for a first champion, and for one that is confirmed."""


def promote_version(
    session: Session,
    name: str,
    version: str | None = None,
    *,
    by: str,
    note: str = "",
    override: bool = False,
    key: str | None = None,
) -> ManualPromotion:
    """Put a version in charge because a person says so, and record who and why.

    Args:
        session: Whose lake and registry.
        name: The line.
        version: Of the line's model; default the newest challenger.
        by: Who says so.
        note: Why.
        override: Against all `promotion_blockers`: a newest verdict that is not 'promote', or by looser gates than
            the line's file has, or against another champion; a night that was held; a missing approval. Needs a note.
            Not against `four_eyes`.
        key: The same key again is the same promotion (a task that is retried, say); default: a new one.

    Raises:
        NotFound: The line has no such version.
        DataError: It is in charge already, or something speaks against it.
        ConfigError: The line's file is missing or wrong.
    """
    from tasks import evidence

    by, note = plain_text(by), plain_text(note)
    _check_names(name, by)
    line = session.line(name)
    with promotion_lock(session, name) as (lake, registry):
        if key and (done := evidence.find(lake, name, "promotion", key)):
            return _promotion(done, registry.aliases(name).previous)
        before = registry.aliases(name)
        wanted = version or before.challenger
        if wanted is None:
            raise DataError(f"line {name}: no challenger waits to take charge", fix="name a version with --to")
        record = _existing(registry, name, wanted)
        doubt = _doubt(lake, registry, name)
        _refuse_champion(before, name, record.version, doubt if override else None)
        verdict = newest_verdict(lake, name, record.version)
        if alone := needs_second_person(lake, line, verdict, by):
            raise DataError(
                f"line {name}, version {record.version}: {alone}",
                expected="two people, one who asks and one who approves; an override does not set this aside",
                fix="somebody else promotes it, or approves a new night of it; a rollback takes one person only",
            )
        against = list(promotion_blockers(lake, line, verdict, before.champion))
        if doubt and before.champion == record.version:  # a person's word is what puts it in charge: with a note
            against.append(f"who is in charge cannot be told: {doubt.thing}")
        if against and override_of(override, note, by) is None:
            raise DataError(
                f"line {name}, version {record.version}: {'; '.join(against)}",
                expected="the verdict 'promote' and nothing against it, or an explicit override with a note",
                fix=f'nightscope promote {name} --to {record.version} --override --note "why"; both are recorded',
            )
        pending = PendingPromotion(
            line=name,
            action="promotion",
            key=key or uuid4().hex,
            outcome=NightState.PROMOTED,
            before=before,
            verdict_id=verdict.verdict_id if verdict else None,
            model_version=record.version,
            by=by,
            asked_by=by,
            note=note,
            override=bool(against),
        )
        return _promotion(commit(lake, registry, pending), before.champion)


def roll_back(
    session: Session, name: str, version: str | None = None, *, by: str, note: str = "", key: str | None = None
) -> ManualPromotion:
    """Put a former champion back in charge because a person says so, and record who and why.

    Args:
        session: Whose lake and registry.
        name: The line.
        version: One that was in charge before; default the one before the champion.
        by: Who says so.
        note: Why.
        key: The same key again is the same rollback; default: a new one.

    The way back must be open on a bad day: the line's file may be wrong or gone, and so may the version's old verdict.

    Raises:
        NotFound: The line has no such version, or no model at all.
        DataError: There is nobody to go back to, or the version never was in charge.
    """
    from tasks import evidence

    by, note = plain_text(by), plain_text(note)
    _check_names(name, by)
    with promotion_lock(session, name) as (lake, registry):
        if key and (done := evidence.find(lake, name, "rollback", key)):
            return _promotion(done, registry.aliases(name).previous)
        before = registry.aliases(name)
        wanted = version or before.previous
        if wanted is None and before == Aliases() and not registry.versions(name):
            raise NotFound(f"line {name}: MLflow has no model of that name", expected="a line that was trained")
        if wanted is None:
            raise DataError(
                f"line {name}: there is no champion before {before.champion or 'the first'} to go back to",
                fix=f"nightscope verdicts {name} lists its versions; nightscope promote {name} --to one of them",
            )
        record = _existing(registry, name, wanted)
        _refuse_champion(before, name, record.version, _doubt(lake, registry, name))
        if not was_in_charge(lake, record):
            raise DataError(
                f"line {name}: version {record.version} never was in charge, so there is no way back to it",
                expected="evidence that it was put in charge: MLflow's tags are none",
                fix=f"nightscope promote {name} --to {record.version}",
            )
        verdict = verdict_if_there(lake, record.verdict_id)
        gone = f"Its verdict {record.verdict_id} is not in the lake any more." if record.verdict_id else ""
        pending = PendingPromotion(
            line=name,
            action="rollback",
            key=key or uuid4().hex,
            outcome=NightState.ROLLED_BACK,
            before=before,
            verdict_id=verdict.verdict_id if verdict else None,
            model_version=record.version,
            by=by,
            asked_by=by,
            note=note if verdict else f"{note} {gone}".strip(),
        )
        return _promotion(commit(lake, registry, pending), before.champion)


def _check_names(name: str, by: str) -> None:
    if not by.strip():
        raise DataError(f"line {name}: nobody says who puts a model in charge", expected="the name of a person")
    if not re.fullmatch(LINE_NAME, name):
        raise DataError(f"line {name!r}: no line can be called that", expected=f"a name like {LINE_NAME}")


def _promotion(entry: EvidenceEntry, before: str | None) -> ManualPromotion:
    log.info(f"line {entry.line}: version {entry.model_version} is in charge, before it {before or 'none'}")
    undo = f"nightscope rollback {entry.line} --to {before}" if before and before != entry.model_version else None
    return ManualPromotion(
        line=entry.line,
        action=entry.action,
        model_version=entry.model_version,
        before=before,
        evidence=entry.number,
        verdict_id=entry.verdict_id,
        by=entry.by,
        note=entry.note,
        at=entry.at.isoformat(),
        undo=undo,
    )


def _existing(registry: Registry, name: str, version: str) -> ModelRecord:
    try:
        return registry.version(name, version)
    except DataError as error:
        if version.isdecimal() and not isinstance(error, NotFound):  # there is one, and it is not ours
            raise
        # MLflow refuses a word that is no number where it misses a number
        known = ", ".join(record.version for record in registry.versions(name)) or "none yet"
        raise NotFound(f"line {name}: no model version {version!r}", expected=f"one of: {known}") from error


def _doubt(lake: Lake, registry: Registry, name: str) -> DataError | None:
    """Say why MLflow's alias does not decide who is in charge; then a person does, be it for the same version."""
    try:
        champion_of(lake, registry, name)
    except DataError as error:
        return error
    return None


def _refuse_champion(held: Aliases, name: str, version: str, doubt: DataError | None) -> None:
    if held.champion == version and doubt is None:
        raise DataError(f"line {name}: version {version} is in charge already", fix=f"nightscope champion {name}")
