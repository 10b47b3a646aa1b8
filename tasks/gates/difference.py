"""Comparing gates (`not_worse_by`, `better_by`) in one place: overall, or in one slice.

They ask for an advantage over the champion, of at least minus the margin (non-inferiority), or of more than so much
(superiority). Two one-sided bounds of the paired bootstrap, each at the gate's confidence, say what is sure:

    at least so much, surely                              → passed
    less than that, surely                                → reject
    the interval is wider than the line allows            → insufficient_data
    neither is sure                                       → hold
    too few clusters, for the line or the confidence      → insufficient_data

What is not decided says how many more recordings would probably decide it.
"""

from __future__ import annotations

from typing import NamedTuple

from tasks.evaluation.evaluation import Difference
from tasks.gates.findings import Asked, Finding
from tasks.gates.wording import allowed, apart, compared, name_of, noun, number, roughly
from tasks.metrics.planning import clusters_for_width, clusters_to_carry, clusters_to_settle
from tasks.schemas import Decision, Interval


class Advantage(NamedTuple):
    """How much better the challenger surely is at least, and at most; negative: worse."""

    least: float
    most: float


def advantage(asked: Asked, difference: Difference, confidence: float) -> Advantage | None:
    """The bounds of a difference, signed so that more is better; None where there are none."""
    low, high = difference.bounds(confidence)
    if low is None or high is None:
        return None
    return Advantage(low, high) if asked.metric.better == "higher" else Advantage(-high, -low)


def surely_fails(asked: Asked, difference: Difference, confidence: float) -> bool:
    """Whether the challenger lacks the wanted advantage beyond doubt."""
    found = advantage(asked, difference, confidence)
    return found is not None and found.most < _wanted(asked)


def too_wide(asked: Asked, interval: Interval | None) -> bool:
    """Whether an interval is wider than the line allows."""
    widest = asked.line.evaluation.max_interval_width
    if widest is None or interval is None or interval.low is None or interval.high is None:
        return False
    return interval.high - interval.low > widest


def compare(asked: Asked, where: str | None) -> Finding:
    """Judge a difference by the gate's own confidence."""
    evaluation, gate, metric = asked.evaluation, asked.gate, asked.metric
    name, value = name_of(metric, where), evaluation.value(gate.metric, where)
    if evaluation.champion is None:
        reason = f"{name} is not compared: there is no champion yet."
        return Finding(Decision.PROMOTE, reason, "not compared", value=value)
    champion = evaluation.champion_value(gate.metric, where)
    difference = evaluation.difference(gate.metric, where)
    clusters = difference.clusters if difference else None

    def undecided(why: str, brief: str, decision: Decision = Decision.INSUFFICIENT_DATA) -> Finding:
        reason = f"{name} cannot be compared with the champion's: {why}"
        return Finding(decision, reason, brief, value=value, champion_value=champion, clusters=clusters)

    lacking = _too_few(asked, difference, where)
    if lacking:
        return undecided(*lacking)
    if value is None and champion is not None:
        nothing = "the challenger predicted nothing"
        return undecided(f"{nothing}.", nothing, Decision.REJECT)
    if value is not None and champion is None:
        nothing = "the champion predicted nothing to measure it on"
        return Finding(Decision.PROMOTE, f"{name} is not compared: {nothing}.", nothing, value=value)
    if difference is None or difference.value is None:
        return undecided("it is undefined for one of the models.", "undefined for one of the models")
    undefined = difference.draws.count(None) / max(1, len(difference.draws))
    found = advantage(asked, difference, gate.confidence)
    if found is None or undefined > _UNDEFINED_DRAWS:
        # Draws in which a model predicts nothing say nothing of this metric: the others would speak for them.
        share = "every draw" if found is None else f"{undefined:.0%} of the draws"
        return undecided(f"it is undefined on {share} of the bootstrap.", f"undefined on {share}")
    decision, brief, further = _judge(asked, difference, found)
    change = compared(metric, difference.value, value, champion)
    over = f"over {difference.clusters} {noun(evaluation, difference.clusters)}"
    low, high = difference.bounds(gate.confidence)
    return Finding(
        decision,
        f"{name} is {change}; {allowed(gate, metric)}, and at {gate.confidence * 100:g}% confidence {over} {brief}: "
        f"{_ENDS[decision]}.{f' {further[0].upper()}{further[1:]}.' if further else ''}",
        f"{brief}; {further}" if further else brief,
        value=value,
        champion_value=champion,
        # Two one-sided bounds at c are the two-sided interval at 2c - 1.
        difference=Interval(low=low, high=high, confidence=round(2 * gate.confidence - 1, 9)),
        clusters=clusters,
    )


_UNDEFINED_DRAWS = 0.05

_ENDS = {
    Decision.PROMOTE: "passed",
    Decision.REJECT: "failed",
    Decision.HOLD: "not shown either way",
    Decision.INSUFFICIENT_DATA: "too wide to judge by",
}


def _judge(asked: Asked, difference: Difference, found: Advantage) -> tuple[Decision, str, str]:
    """The decision, what the bounds say, and what would help."""
    gate, metric, wanted = asked.gate, asked.metric, _wanted(asked)
    if found.most < wanted:
        return Decision.REJECT, _at_best(asked, found.most), ""
    width, widest = found.most - found.least, asked.line.evaluation.max_interval_width
    if widest is not None and width > widest:
        needed = clusters_for_width(width, difference.clusters, gate.confidence, widest)
        brief = f"the interval is {apart(metric, width, widest)} wide where {number(metric, widest)} is allowed"
        return Decision.INSUFFICIENT_DATA, brief, _more(asked, difference.clusters, needed, "make it narrow enough")
    passed = found.least >= wanted if gate.condition == "not_worse_by" else found.least > wanted
    if passed:
        return Decision.PROMOTE, _at_worst(asked, found.least), ""
    sign = 1 if metric.better == "higher" else -1
    distance = sign * (difference.value or 0.0) - wanted
    needed = clusters_to_settle(distance, width, difference.clusters, gate.confidence)
    further = _more(asked, difference.clusters, needed, "settle it")
    return Decision.HOLD, _possible(asked, found.least), further


def _wanted(asked: Asked) -> float:
    """The least advantage that passes."""
    return -asked.gate.threshold if asked.gate.condition == "not_worse_by" else asked.gate.threshold


def _at_worst(asked: Asked, least: float) -> str:
    shown = apart(asked.metric, abs(least), asked.gate.threshold)
    return f"it is worse by at most {shown}" if least < 0 else f"it is better by at least {shown}"


def _at_best(asked: Asked, most: float) -> str:
    shown = apart(asked.metric, abs(most), asked.gate.threshold)
    return f"it is worse by at least {shown}" if most < 0 else f"it is better by at most {shown}"


def _possible(asked: Asked, least: float) -> str:
    if least == 0:
        return "it could be just as good"
    shown = apart(asked.metric, abs(least), asked.gate.threshold)
    return f"it could be worse by {shown}" if least < 0 else f"it could be better by only {shown}"


def _more(asked: Asked, there: int, needed: int | None, what: str) -> str:
    if needed is None:
        return f"it is so close that no number of {noun(asked.evaluation, 2)} one could add would {what}"
    more = max(1, needed - there)
    return f"about {roughly(more)} more test {noun(asked.evaluation, more)} would probably {what}"


def _too_few(asked: Asked, difference: Difference | None, where: str | None) -> tuple[str, str] | None:
    """What the test split lacks for a difference to be judged at all; None if nothing."""
    evaluation, gate = asked.evaluation, asked.gate
    plan, carry = asked.line.evaluation.min_clusters, clusters_to_carry(gate.confidence)
    needed, there = max(plan, carry), len(evaluation.clusters)
    carrying = difference.clusters if difference else there
    if carrying >= needed:
        return None
    nouns = noun(evaluation, there)
    if there < needed:
        held = f"the test split holds {there} {nouns}"
        if not evaluation.of_pictures:
            held += f", and a difference is judged between {noun(evaluation, 2)}, never between frames"
    else:
        has = "has" if carrying == 1 else "have"
        held = f"only {carrying} of the {there} test {nouns} {has} anything to measure it on"
    why = f"; at least {needed} are needed"
    if carry > plan:
        most = (1 - 0.5**carrying) * 100
        why += f" for {gate.confidence * 100:g}% confidence ({carrying} can carry {most:.3g}% at most)"
    more = needed - carrying
    what = f" with {where.partition('.')[2]!r} labels" if where else ""
    fix = (
        f"Add and label {more} more {noun(evaluation, more)}{what} for the test split "
        f"('nightscope add --split test' pins them there)"
    )
    further = _beyond(asked, difference, needed)
    return (
        f"{held}{why}. {fix}{f', and {further}' if further else ''}.",
        f"only {carrying} of {there} test {nouns}, and at least {needed} are needed",
    )


def _beyond(asked: Asked, difference: Difference | None, needed: int) -> str:
    """Where the minimum would probably not be enough either: said at once, not after the next night."""
    found = advantage(asked, difference, asked.gate.confidence) if difference else None
    if found is None or difference is None or difference.value is None:
        return ""
    sign = 1 if asked.metric.better == "higher" else -1
    distance = sign * difference.value - _wanted(asked)
    enough = clusters_to_settle(distance, found.most - found.least, difference.clusters, asked.gate.confidence)
    if enough is None or enough <= needed:
        return ""
    return f"probably about {roughly(enough)} in all, by how far these few lie apart"
