"""Carry out a night's verdict, or not, and record it either way: the last step of a night."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.config import Line, Settings
from tasks.errors import DataError, NothingToDo
from tasks.escaping import plain_text
from tasks.lake import Lake
from tasks.promotion.gate_overrides import (
    Deviation,
    Override,
    described,
    judged_differently,
    loosened,
    override_of,
)
from tasks.promotion.journal import PendingPromotion, commit, promotion_lock
from tasks.promotion.verdict_rows import doubt, verdict_named
from tasks.schemas import ENDINGS, Answer, Decision, EvidenceEntry, Frozen, NightState, Verdict
from tasks.session import Session
from tasks.steps.change_detection import finish_night, run_fingerprint

if TYPE_CHECKING:
    from tasks.registry import Registry

log = logging.getLogger(__name__)

NO_OVERRIDE = "To promote by looser gates takes an override with a note by a named person, and this run had none."


class Promoted(Frozen):
    """A model that took charge by its night."""

    model_version: str
    promoted_at: str
    evidence: int
    by: str | None
    differs: str
    """In what the run's gates differed from the line's file; empty: in nothing."""


def promote_model(
    session: Session,
    name: str,
    changes: Mapping[str, Any] | None,
    verdict_id: str,
    *,
    news: str | None = None,
    dry_run: bool = False,
    answer: Mapping[str, Any] | None = None,
    override: bool = False,
    note: str = "",
    by: str = "",
) -> Promoted:
    """Carry out a night's verdict, once: put the model in charge or not, record the evidence, file the night.

    Args:
        session: Whose lake and registry.
        name: The line.
        changes: Of the line, for this run.
        verdict_id: The verdict to carry out.
        news: Fingerprint of the night's inputs, from `check_news`; filed, so that the same inputs are not judged twice.
        dry_run: Change nothing, record nothing, file nothing.
        answer: What a person said when asked (an `Answer`); a line that asks for approval promotes by nothing else.
        override: Promote even if the verdict was made easier to pass than the line's file wants it: by gates or an
            evaluation that were loosened for the run. Needs `note` and `by`.
        note: Why.
        by: Who asked for this night, and for the override; empty: the clock. See `tasks.operations.who`.

    Raises:
        NothingToDo: The champion stays; says why.
        DataError: Another model took charge since the verdict: it compared with the wrong one.
    """
    settings, lake = session.settings, session.lake
    own, line = session.line(name), session.line(name, changes)
    verdict = verdict_named(lake, verdict_id)
    if verdict.line != name:
        raise DataError(f"verdict {verdict_id}", expected=f"one of line {name}", found=f"one of line {verdict.line}")
    found = judged_differently(lake, own, verdict, otherwise=line)
    if dry_run:
        raise NothingToDo(_spaced(f"dry run: the verdict is {verdict.verdict}; the champion stays.", described(found)))
    said, asked_by = _answer(answer), plain_text(by) or None
    end = _end(
        own, verdict, found, said, override_of(override, note, by), refused(settings, own, verdict, said, asked_by)
    )
    with promotion_lock(session, name) as (lake, registry):
        entry = _carry_out(lake, registry, verdict, said, end, asked_by)
        champion = registry.champion(name)
    _file(lake, line, verdict, entry, news)
    if entry.outcome is not NightState.PROMOTED:
        raise NothingToDo(_why_not(verdict, entry), fix=_all_the_same(verdict, entry))
    if champion is None or champion.version != verdict.model_version:
        raise NothingToDo(
            f"verdict {verdict_id} was carried out on {entry.at:%Y-%m-%d %H:%M} UTC (evidence {entry.number}); since "
            f"then version {champion.version if champion else 'none'} was put in charge, and the champion stays",
            fix=f"nightscope promote {name} --to {verdict.model_version}, if that is what you want",
        )
    log.info(f"model version {champion.version} is the champion of line {name}; evidence {entry.number}")
    return Promoted(
        model_version=champion.version,
        promoted_at=str(entry.at),
        evidence=entry.number,
        by=entry.by,
        differs=described(found),
    )


def _answer(answer: Mapping[str, Any] | None) -> Answer | None:
    """Read what a person answered, without what cannot be seen."""
    if not answer:
        return None
    said = Answer.model_validate(answer)
    return said.model_copy(update={"by": plain_text(said.by or "") or None, "note": plain_text(said.note)})


def refused(settings: Settings, own: Line, verdict: Verdict, answer: Answer | None, asked_by: str | None) -> str:
    """Say why the gates' and a person's answer put nothing in charge; empty: they may.

    Whether a person may answer was asked when the answer was taken, by Airflow's API server; here it is asked again.
    """
    if (why := doubt(settings, verdict)) is not None:
        return f"The verdict is not believed: {why}."
    if answer is None or not answer.approved or not own.approval.required:
        return ""
    if answer.by is None:
        return "Nobody knows who approved it."
    if not own.approval.may_answer(answer.by):
        return f"{answer.by} approved it, and may not: the line asks {', '.join(own.approval.assigned_to)}."
    if own.approval.four_eyes and answer.by == asked_by:
        return f"{answer.by} asked for this night, and cannot be the one who approves it (four eyes)."
    return ""


class _End(NamedTuple):
    """What becomes of a night, and what its evidence says beside the gates."""

    outcome: NightState
    note: str
    by: str | None = None
    override: bool = False


def _end(
    own: Line,
    verdict: Verdict,
    found: tuple[Deviation, ...],
    answer: Answer | None,
    override: Override | None,
    refusal: str,
) -> _End:
    said, by, differs = (answer.note if answer else ""), (answer.by if answer else None), described(found)
    if verdict.verdict is not Decision.PROMOTE:
        return _End(ENDINGS[verdict.verdict], _spaced(differs, said), by)
    if loosened(found) and override is None:
        return _End(NightState.HELD, _spaced(differs, NO_OVERRIDE, said), by)
    if answer is None and own.approval.required:
        nobody = "the line asks for a person's approval, and nobody was asked"
        return _End(NightState.HELD, _spaced(differs, nobody))
    if answer and not answer.approved:
        return _End(NightState.HELD, _spaced(differs, said), by)
    if refusal:
        return _End(NightState.HELD, _spaced(differs, refusal, said), by)
    if override and loosened(found):
        return _End(NightState.PROMOTED, _spaced(differs, override.note, said), override.by, override=True)
    return _End(NightState.PROMOTED, _spaced(differs, said), by)


def _spaced(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _carry_out(
    lake: Lake, registry: Registry, verdict: Verdict, answer: Answer | None, end: _End, asked_by: str | None
) -> EvidenceEntry:
    """The night's evidence: found where the night was carried out already, made else."""
    from tasks import evidence

    if done := evidence.find(lake, verdict.line, "night", verdict.verdict_id):
        return done
    plan = PendingPromotion(
        line=verdict.line,
        action="night",
        key=verdict.verdict_id,
        outcome=end.outcome,
        before=registry.aliases(verdict.line),
        verdict_id=verdict.verdict_id,
        model_version=verdict.model_version,
        answer=answer,
        by=end.by,
        asked_by=asked_by,
        note=end.note,
        override=end.override,
    )
    champion = registry.champion(verdict.line)
    known = (verdict.model_version, verdict.champion_version)
    if end.outcome is NightState.PROMOTED and champion is not None and champion.version not in known:
        _refuse_overtaken(lake, registry, verdict, champion.version, plan)
    return commit(lake, registry, plan)


def _refuse_overtaken(lake: Lake, registry: Registry, verdict: Verdict, champion: str, plan: PendingPromotion) -> None:
    """Record that another model took charge first, and refuse.

    Its own key: the verdict itself stays open, should the champion that it compared with come back by a rollback.
    """
    found = f"version {champion} in charge by now"
    note = f"compared with version {verdict.champion_version or 'none'}; {found}"
    key = f"{verdict.verdict_id} overtaken by {champion}"
    failed = {"outcome": NightState.FAILED, "key": key, "note": note, "override": False}
    commit(lake, registry, plan.model_copy(update=failed))
    raise DataError(
        f"verdict {verdict.verdict_id} compared with model version {verdict.champion_version or 'none'}",
        found=found,
        fix="run the night again: it judges against the model in charge",
    )


def _why_not(verdict: Verdict, entry: EvidenceEntry) -> str:
    if verdict.verdict is not Decision.PROMOTE:
        return f"the verdict is {verdict.verdict}; the champion stays"
    said = f"{entry.by} said hold" if entry.by and NO_OVERRIDE not in entry.note else "held"
    return f"{said}{f': {entry.note}' if entry.note else ''}; the champion stays (evidence {entry.number})"


def _all_the_same(verdict: Verdict, entry: EvidenceEntry) -> str | None:
    """How to put a model in charge that was held: what is decided is decided, so only by hand."""
    if verdict.verdict is not Decision.PROMOTE:
        return None
    by_hand = f'nightscope promote {verdict.line} --to {verdict.model_version} --override --note "why", if you want it'
    beforehand = 'a run says so beforehand with --set override=true --set note="why"'
    return f"{by_hand}; {beforehand}" if NO_OVERRIDE in entry.note else by_hand


def _file(lake: Lake, line: Line, verdict: Verdict, entry: EvidenceEntry, news: str | None) -> None:
    record = verdict.model_dump(mode="json", include={"verdict", "model_version", "dataset_version", "verdict_id"})
    record |= {"outcome": entry.outcome.value, "evidence": entry.number}
    finish_night(lake, line.line, run_fingerprint(verdict.run_key, line), record)
    if news:
        finish_night(lake, line.line, news, record)
