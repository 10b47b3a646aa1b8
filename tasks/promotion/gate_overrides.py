"""Whether a verdict was made easier to pass than the line's file wants it: by gates or an evaluation changed for a run.

What counts is the line as it was judged, which the verdict keeps, against the line's file as it is now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tasks.config import EvaluationPlan, Gate, Line
from tasks.errors import ConfigError, DataError
from tasks.escaping import plain_text
from tasks.lake import Lake
from tasks.schemas import Verdict


class Deviation(NamedTuple):
    """One thing in which the line as judged differs from its file."""

    what: str
    """E.g. 'AP50.sperm.at_least 0 instead of 0.6'."""
    loosened: bool
    """False: it is harder to pass, or asks for more."""


class Override(NamedTuple):
    """A named person's word, with a reason, that a verdict by loosened gates may be carried out."""

    by: str
    note: str


def override_of(override: bool, note: str, by: str) -> Override | None:
    """Read the override of a run or a command; None where there is none, or one without a reason or a name."""
    by, note = plain_text(by), plain_text(note)
    return Override(by, note) if override and note and by else None


def judged_differently(lake: Lake, own: Line, verdict: Verdict, otherwise: Line | None = None) -> tuple[Deviation, ...]:
    """Compare the line as a verdict judged it with the line's file.

    Args:
        lake: Where the judged line is kept.
        own: The line as its file says.
        verdict: Which verdict.
        otherwise: The judged line, for a verdict of a time when it was not kept; None: nothing is found then.
    """
    from tasks.evidence.record import judged_line

    try:
        judged = judged_line(lake, verdict) or otherwise
    except (DataError, ConfigError) as error:
        return (Deviation(f"the line as it was judged cannot be read ({error})", True),)
    return deviations(own, judged) if judged else ()


def deviations(own: Line, judged: Line) -> tuple[Deviation, ...]:
    """Compare a judged line's gates and evaluation plan with the file's; what made it easier comes first."""
    found = (*_gates(own, judged), *_evaluation(own.evaluation, judged.evaluation))
    return tuple(sorted(found, key=lambda deviation: not deviation.loosened))


def loosened(found: Iterable[Deviation]) -> bool:
    """Return whether anything made the gates easier to pass."""
    return any(deviation.loosened for deviation in found)


def described(found: Iterable[Deviation], whose: str = "This run's gates") -> str:
    """Name all deviations in a sentence; empty where there are none."""
    parts = "; ".join(deviation.what for deviation in found)
    return f"{whose} differ from the line's file: {parts}." if parts else ""


def _gates(own: Line, judged: Line) -> Iterator[Deviation]:
    asked = {gate.id: gate for gate in judged.gates}
    for gate in own.gates:
        if gate.id in asked:
            yield from _gate(gate, asked.pop(gate.id))
        else:
            yield Deviation(f"{gate.id} is missing", True)
    for name, gate in asked.items():
        yield Deviation(f"{name} {gate.threshold:.12g}, which the file does not ask for", False)


def _gate(own: Gate, judged: Gate) -> Iterator[Deviation]:
    if judged.threshold != own.threshold:
        stricter = (judged.threshold > own.threshold) is (own.condition in ("at_least", "better_by"))
        yield Deviation(f"{own.id} {judged.threshold:.12g} instead of {own.threshold:.12g}", not stricter)
    if judged.confidence != own.confidence:
        yield Deviation(f"{own.id} with {judged.confidence:.12g} confidence instead of {own.confidence:.12g}", True)
    if judged.device != own.device:
        yield Deviation(f"{own.id} on {judged.device or 'any device'} instead of {own.device or 'any'}", True)


def _evaluation(own: EvaluationPlan, judged: EvaluationPlan) -> Iterator[Deviation]:
    """Any difference may make it easier: which one does is not for a rule to say."""
    wanted, used = own.model_dump(), judged.model_dump()
    for key in (key for key in wanted if used[key] != wanted[key]):
        yield Deviation(f"evaluation.{key} {_said(used[key])} instead of {_said(wanted[key])}", True)


def _said(value: float | None) -> str:
    return "not set" if value is None else f"{value:.12g}"
