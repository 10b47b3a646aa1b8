"""What speaks against putting a version in charge by hand: all that an override has to set aside."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.config import Line
from tasks.errors import DataError
from tasks.lake import Lake
from tasks.schemas import Decision, EvidenceEntry, NightState, Verdict
from tasks.steps.loosening import judged_differently, loosened, told


def objections(lake: Lake, line: Line, verdict: Verdict | None, champion: str | None) -> Iterator[str]:
    """Why a version must not take charge without more ado.

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
    found = judged_differently(lake, line, verdict)
    if loosened(found):
        yield told(found, "the gates of its newest verdict").removesuffix(".")
    if verdict.verdict is Decision.PROMOTE:
        yield from _of_its_night(lake, line, verdict)


def _of_its_night(lake: Lake, line: Line, verdict: Verdict) -> Iterator[str]:
    from tasks import evidence

    entry = evidence.find(lake, line.line, "night", verdict.verdict_id)
    if entry and entry.outcome is NightState.HELD:
        said = ": ".join(part for part in (entry.by, entry.note) if part)
        yield f"its night was held (evidence {entry.number}{f', {said}' if said else ''})"
    elif line.approval.required and not (entry and _approved(lake, entry)):
        yield "the line asks for a person's approval, and nobody has approved its newest verdict"


def _approved(lake: Lake, entry: EvidenceEntry) -> bool:
    from tasks.evidence import chain

    try:
        answer = chain.load(lake, entry.bundle_oid).approval
    except DataError:  # what cannot be read approves of nothing
        return False
    return answer is not None and answer.approved


def _in_charge(champion: str | None) -> str:
    return f"version {champion}" if champion else "nobody"
