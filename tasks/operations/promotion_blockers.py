"""Reasons against putting a version in charge by hand: all that an override has to set aside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tasks.config import Line
from tasks.errors import DataError
from tasks.lake import Lake
from tasks.promotion.gate_overrides import described, judged_differently, loosened
from tasks.promotion.verdict_rows import doubt
from tasks.schemas import Decision, EvidenceEntry, NightState, Verdict

if TYPE_CHECKING:
    from tasks.evidence import Bundle


def promotion_blockers(lake: Lake, line: Line, verdict: Verdict | None, champion: str | None) -> Iterator[str]:
    """Name the reasons why a version must not take charge without an override.

    Args:
        lake: Where the evidence is.
        line: As its file says.
        verdict: The version's newest.
        champion: Who is in charge.

    Yields:
        Parts of a sentence; none: its verdict carries it.
    """
    if verdict is None:
        yield "no verdict was ever given"
        return
    if verdict.verdict is not Decision.PROMOTE:
        yield f"its newest verdict says {verdict.verdict}: {' '.join(verdict.reasons[:2])}"
    if verdict.champion_version != champion:
        compared = f"version {verdict.champion_version}" if verdict.champion_version else "no champion"
        yield f"its newest verdict compared it with {compared}, and {_in_charge(champion)} is in charge now"
    if why := doubt(lake.settings, verdict):
        yield f"its newest verdict is not believed ({why})"
    found = judged_differently(lake, line, verdict)
    if loosened(found):
        yield described(found, "the gates of its newest verdict").removesuffix(".")
    if verdict.verdict is Decision.PROMOTE:
        yield from _of_its_night(lake, line, verdict)


def _of_its_night(lake: Lake, line: Line, verdict: Verdict) -> Iterator[str]:
    from tasks import evidence

    entry = evidence.find(lake, line.line, "night", verdict.verdict_id)
    if entry and entry.outcome is NightState.HELD:
        said = ": ".join(part for part in (entry.by, entry.note) if part)
        yield f"its night was held (evidence {entry.number}{f', {said}' if said else ''})"
    elif line.approval.required and not (entry and _approved(lake, line, entry)):
        yield "the line asks for a person's approval, and nobody has approved its newest verdict"


def needs_second_person(lake: Lake, line: Line, verdict: Verdict | None, by: str) -> str | None:
    """Say why a person cannot put a version in charge alone, where the line wants four eyes.

    No override sets this aside. Somebody else must have approved the version's newest verdict, or asked for its night.
    A night by the clock was asked for by nobody: then the gates' `promote` and this person's word will do.
    """
    if not line.approval.four_eyes:
        return None
    from tasks import evidence

    why = f"the line wants four eyes, and nobody but {by} has said anything about this version"
    entry = evidence.find(lake, line.line, "night", verdict.verdict_id) if verdict else None
    bundle = _believed(lake, entry) if entry else None
    if verdict is None or bundle is None:
        return why
    answer = bundle.approval
    if answer and answer.approved and answer.by not in (None, by) and line.approval.may_answer(str(answer.by)):
        return None
    if not line.approval.may_answer(by):
        return f"the line wants four eyes, and {by} is none of those whom it asks"
    if bundle.asked_by is not None:
        return None if bundle.asked_by != by else why
    return None if verdict.verdict is Decision.PROMOTE else why


def _approved(lake: Lake, line: Line, entry: EvidenceEntry) -> bool:
    bundle = _believed(lake, entry)
    answer = bundle.approval if bundle else None
    if bundle is None or answer is None or not answer.approved or answer.by is None:
        return False
    alone = line.approval.four_eyes and answer.by == bundle.asked_by
    return line.approval.may_answer(answer.by) and not alone


def _believed(lake: Lake, entry: EvidenceEntry) -> Bundle | None:
    """Read a piece of evidence; None where nobody who is trusted here signed it."""
    from tasks.evidence import chain

    try:
        chain.check_signed(lake, entry)
        return chain.load(lake, entry.bundle_oid)
    except DataError:  # what cannot be read, or was not written by us, approves of nothing
        return None


def _in_charge(champion: str | None) -> str:
    return f"version {champion}" if champion else "nobody"
