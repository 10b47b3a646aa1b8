"""Gates that ask for each of many slices (`for_each`), and what many questions at once do to certainty.

**To promote**, every slice must pass, each by its own bound at the gate's confidence. That needs no correction: whoever
is promoted wrongly is too much worse in at least one slice, and had to pass that very one, which happens with a
probability of at most 1 - confidence, however many others there are (intersection-union test: Berger 1982,
"Multiparameter Hypothesis Testing and Acceptance Sampling", Technometrics 24:295-300). The same holds for all gates of
a line together.

**To reject**, one slice is enough, and among many slices one is found "surely worse" by chance. So that a good
challenger is not thrown out by that, this finding is corrected over the slices that were compared, by Holm's step-down
method (Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure", Scand. J. Statist. 6:65-70), which holds
whatever the slices have in common. A slice that is surely worse alone but not among so many is a hold.

A slice that is carried by too few clusters is insufficient data, and so is the gate: it was asked for. So is a class,
or a slice named by itself, of which the test split holds nothing. Only of a whole family like `size` an empty slice is
left out, and named: no line can know beforehand how large its objects are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tasks.config import Gate, Line
from tasks.evaluation.evaluation import Difference
from tasks.gates.absolute import judge_value
from tasks.gates.difference import compare, surely_fails, too_wide
from tasks.gates.findings import Asked, Finding
from tasks.gates.severity import worst
from tasks.gates.wording import allowed, listed, name_of, number, place
from tasks.kind import Kind
from tasks.schemas import Decision, GateResult


def slices_of(line: Line, kind: Kind, gate: Gate) -> tuple[str, ...]:
    """The slices that a gate asks for, each once, e.g. ('class.sperm', 'size.small')."""
    families = kind.metrics.slices(line)
    found = [
        f"{family}.{name}"
        for asked in gate.for_each
        for family, _, one in [asked.partition(".")]
        for name in ((one,) if one else families[family])
    ]
    return tuple(dict.fromkeys(found))


def judge_each(asked: Asked) -> GateResult:
    """Judge a `for_each` gate: slice by slice, then together."""
    judge = compare if asked.gate.compares else judge_value
    slices = slices_of(asked.line, asked.kind, asked.gate)
    findings = _corrected(asked, {where: _unless_empty(asked, where) or judge(asked, where) for where in slices})
    decisions = [found.decision for found in findings.values() if found.decision]
    return GateResult(
        gate=asked.gate.id,
        decision=worst(decisions) if decisions else Decision.INSUFFICIENT_DATA,
        reason=_sentence(asked, findings),
        threshold=asked.gate.threshold,
        slices=tuple(found.as_slice(where) for where, found in findings.items()),
    )


def _unless_empty(asked: Asked, where: str) -> Finding | None:
    if asked.labels(where) or (asked.gate.compares and asked.evaluation.champion is None):
        return None
    if where in asked.gate.for_each or where.startswith("class."):
        reason = f"{name_of(asked.metric, where)} cannot be judged: the test split holds no label of {place(where)}."
        return Finding(Decision.INSUFFICIENT_DATA, reason, "no label of it in the test split")
    reason = f"{name_of(asked.metric, where)} is left out: the test split holds nothing of it."
    return Finding(None, reason, "nothing of it in the test split")


def _corrected(asked: Asked, findings: Mapping[str, Finding]) -> dict[str, Finding]:
    """The findings, with only those slices rejected that are surely worse even among so many."""
    tested = {
        where: difference
        for where, found in findings.items()
        if asked.gate.compares and found.difference is not None
        for difference in [asked.evaluation.difference(asked.gate.metric, where)]
        if difference is not None
    }
    upheld = surely_failing(asked, tested)
    return {
        where: _among(asked, found, len(tested))
        if found.decision is Decision.REJECT and where in tested and where not in upheld
        else found
        for where, found in findings.items()
    }


def surely_failing(asked: Asked, tested: Mapping[str, Difference]) -> set[str]:
    """The slices that fail beyond doubt, with at most 1 - confidence of any wrong one among them (Holm)."""
    failing: set[str] = set()
    while len(failing) < len(tested):
        level = 1 - (1 - asked.gate.confidence) / (len(tested) - len(failing))
        more = {where for where in tested.keys() - failing if surely_fails(asked, tested[where], level)}
        if not more:
            break
        failing |= more
    return failing


def _among(asked: Asked, found: Finding, slices: int) -> Finding:
    """What is left of a failure that chance explains: a doubt, or an interval too wide to judge by."""
    doubt = f"sure of this slice alone, but among {slices} one looks so by chance too often"
    reason = f"{found.reason.removesuffix(': failed.')}: {doubt}, so that it is not shown either way."
    decision = Decision.INSUFFICIENT_DATA if too_wide(asked, found.difference) else Decision.HOLD
    return replace(found, decision=decision, reason=reason, brief=f"{found.brief}; {doubt}")


def _sentence(asked: Asked, findings: Mapping[str, Finding]) -> str:
    """Which slices passed and which did not, and why not, the worst first."""
    gate, metric = asked.gate, asked.metric
    if gate.compares and asked.evaluation.champion is None:
        return f"{name_of(metric, None)} is not compared in {_count(findings)}: there is no champion yet."
    if gate.compares:
        condition = f"{allowed(gate, metric)}, at {gate.confidence * 100:g}% confidence"
    else:
        least_or_most = gate.condition.replace("_", " ")
        condition = f"{least_or_most} {number(metric, gate.threshold)} is required"
    parts = [
        f"{verb} {'; '.join(f'{place(where)} ({found.brief})' for where, found in these)}"
        for decision, verb in _VERBS
        for these in [[(where, found) for where, found in findings.items() if found.decision is decision]]
        if these
    ]
    passed = [place(where) for where, found in findings.items() if found.decision is Decision.PROMOTE]
    parts += [f"passed in {listed(passed)}"] if passed else []
    empty = [place(where) for where, found in findings.items() if found.decision is None]
    parts += [f"left out for want of labels in the test split: {listed(empty)}"] if empty else []
    return f"{name_of(metric, None)} in {_count(findings)} ({condition}): {'. '.join(_capital(parts))}."


_VERBS = (
    (Decision.REJECT, "failed in"),
    (Decision.INSUFFICIENT_DATA, "too little data in"),
    (Decision.HOLD, "not shown either way in"),
)


def _count(findings: Mapping[str, Finding]) -> str:
    return f"each of {len(findings)} slices" if len(findings) > 1 else place(next(iter(findings)))


def _capital(parts: list[str]) -> list[str]:
    """One sentence for each outcome; the first stands behind a colon."""
    return [parts[0], *(part[0].upper() + part[1:] for part in parts[1:])]
