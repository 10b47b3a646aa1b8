"""The last step of a night: its verdict is carried out, or not, and recorded either way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasks.config import Line, load_settings
from tasks.errors import DataError, NothingToDo
from tasks.lake import Lake, open_lake
from tasks.schemas import ENDINGS, Answer, Decision, EvidenceEntry, NightState, Verdict
from tasks.steps.news import finish_night, judged_key, resolve_line
from tasks.steps.undertaking import Undertaking, command, undertake
from tasks.steps.verdicts import verdict_named

if TYPE_CHECKING:
    from tasks.registry import Registry


def promote_model(
    name: str,
    changes: Mapping[str, Any] | None,
    verdict_id: str,
    *,
    news: str | None = None,
    dry_run: bool = False,
    answer: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Carry out a night's verdict, once: put the model in charge or not, record the evidence, file the night.

    Args:
        name: The line.
        changes: Of the line, for this run.
        verdict_id: The verdict to carry out.
        news: Fingerprint of the night's inputs, from `check_news`; filed, so that the same inputs are not judged twice.
        dry_run: Change nothing, record nothing, file nothing.
        answer: What a person said when asked (an `Answer`); a line that asks for approval promotes by nothing else.

    Returns:
        `model_version`, `promoted_at`, `evidence`.

    Raises:
        NothingToDo: The champion stays; says why.
        DataError: Another model took charge since the verdict: it compared with the wrong one.
    """
    settings = load_settings()
    line = resolve_line(settings, name, changes or {})
    lake = open_lake(settings)
    verdict = verdict_named(lake, verdict_id)
    if verdict.line != name:
        raise DataError(f"verdict {verdict_id}", expected=f"one of line {name}", found=f"one of line {verdict.line}")
    if dry_run:
        raise NothingToDo(f"dry run: the verdict is {verdict.verdict}; the champion stays")
    with command(settings, name) as (lake, registry):
        entry = _carry_out(lake, registry, line, verdict, Answer.model_validate(answer) if answer else None)
        champion = registry.champion(name)
    _file(lake, line, verdict, entry, news)
    if entry.outcome is not NightState.PROMOTED:
        raise NothingToDo(_why_not(verdict, entry))
    if champion is None or champion.version != verdict.model_version:
        raise NothingToDo(
            f"verdict {verdict_id} was carried out on {entry.at:%Y-%m-%d %H:%M} UTC (evidence {entry.number}); since "
            f"then version {champion.version if champion else 'none'} was put in charge, and the champion stays",
            fix=f"nightscope promote {name} --to {verdict.model_version}, if that is what you want",
        )
    print(f"model version {champion.version} is the champion of line {name}; evidence {entry.number}")
    return {
        "model_version": champion.version,
        "promoted_at": str(champion.promoted_at),
        "evidence": entry.number,
        "by": entry.by,
    }


def _carry_out(lake: Lake, registry: Registry, line: Line, verdict: Verdict, answer: Answer | None) -> EvidenceEntry:
    """The night's evidence: found where the night was carried out already, made else."""
    from tasks import evidence

    if done := evidence.find(lake, line.line, "night", verdict.verdict_id):
        return done
    outcome, note = _outcome(line, verdict, answer)
    plan = Undertaking(
        line=line.line,
        action="night",
        key=verdict.verdict_id,
        outcome=outcome,
        before=registry.aliases(line.line),
        verdict_id=verdict.verdict_id,
        model_version=verdict.model_version,
        answer=answer,
        by=answer.by if answer else None,
        note=note,
    )
    champion = registry.champion(line.line)
    known = (verdict.model_version, verdict.champion_version)
    if outcome is NightState.PROMOTED and champion is not None and champion.version not in known:
        _refuse_overtaken(lake, registry, verdict, champion.version, plan)
    return undertake(lake, registry, plan)


def _outcome(line: Line, verdict: Verdict, answer: Answer | None) -> tuple[NightState, str]:
    """What becomes of a night, and the note of whoever decided it beside the gates."""
    note = answer.note if answer else ""
    if verdict.verdict is not Decision.PROMOTE:
        return ENDINGS[verdict.verdict], note
    if answer is None and line.approval.required:
        return NightState.HELD, "the line asks for a person's approval, and nobody was asked"
    return (NightState.HELD if answer and not answer.approved else NightState.PROMOTED), note


def _refuse_overtaken(lake: Lake, registry: Registry, verdict: Verdict, champion: str, plan: Undertaking) -> None:
    """Record that another model took charge first, and refuse.

    Its own key: the verdict itself stays open, should the champion that it compared with come back by a rollback.
    """
    found = f"version {champion} in charge by now"
    note = f"compared with version {verdict.champion_version or 'none'}; {found}"
    key = f"{verdict.verdict_id} overtaken by {champion}"
    undertake(lake, registry, plan.model_copy(update={"outcome": NightState.FAILED, "key": key, "note": note}))
    raise DataError(
        f"verdict {verdict.verdict_id} compared with model version {verdict.champion_version or 'none'}",
        found=found,
        fix="run the night again: it judges against the model in charge",
    )


def _why_not(verdict: Verdict, entry: EvidenceEntry) -> str:
    if verdict.verdict is not Decision.PROMOTE:
        return f"the verdict is {verdict.verdict}; the champion stays"
    said = f"{entry.by} said hold" if entry.by else "held"
    return f"{said}{f': {entry.note}' if entry.note else ''}; the champion stays (evidence {entry.number})"


def _file(lake: Lake, line: Line, verdict: Verdict, entry: EvidenceEntry, news: str | None) -> None:
    record = verdict.model_dump(mode="json", include={"verdict", "model_version", "dataset_version", "verdict_id"})
    record |= {"outcome": entry.outcome.value, "evidence": entry.number}
    finish_night(lake, line.line, judged_key(verdict.run_key, line), record)
    if news:
        finish_night(lake, line.line, news, record)
