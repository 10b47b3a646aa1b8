"""From an evaluation to a decision, gate by gate, with a sentence for each.

An absolute gate (`at_least`, `at_most`) is judged by the measured value: met, or `reject`. A difference gate
(`not_worse_by`) is judged by one-sided bounds of the paired bootstrap, each at the gate's confidence, of how much worse
the challenger is than the champion:

    at most the margin, surely           → passed
    more than the margin, surely         → reject
    neither is sure                      → hold
    too few test clusters for a bound    → insufficient_data, saying how many more it takes

What is missing is never counted as passed: a metric without labels to measure it on is `insufficient_data`; a latency
that was not taken on the gate's device is `hold`. Without a champion the difference gates have nothing to say and the
absolute gates alone decide; a line that has none of those holds. The worst gate decides:
reject > insufficient_data > hold > promote.
"""

from __future__ import annotations

from typing import NamedTuple

from tasks.config import Gate, Line
from tasks.evaluation.evaluation import Difference, Evaluation, Latency
from tasks.gates.checks import check_gates, metric_of
from tasks.metrics.bootstrap import MIN_CLUSTERS
from tasks.metrics.judgement import Metric, find
from tasks.schemas import Decision, GateResult, Interval

SEVERITY = (Decision.PROMOTE, Decision.HOLD, Decision.INSUFFICIENT_DATA, Decision.REJECT)
"""From best to worst."""

NO_CHAMPION = "no champion yet: the absolute gates alone decided"
_CLOSE_CALL_DIGITS = 9


class Outcome(NamedTuple):
    """What was decided, why (what decided it first), and every gate's finding in the line's order."""

    decision: Decision
    reasons: tuple[str, ...]
    gates: tuple[GateResult, ...]


def decide(line: Line, evaluation: Evaluation) -> Outcome:
    """Judge a challenger by its line's gates.

    Args:
        line: Its gates, with this run's changes if any.
        evaluation: Of challenger and champion.

    Raises:
        ConfigError: A gate makes no sense (see `check_gates`).
    """
    check_gates(line)
    results = tuple(_judge(line, gate, evaluation) for gate in line.gates)
    worst = max((result.decision for result in results), key=SEVERITY.index)
    sentences = [r.reason for r in sorted(results, key=lambda r: SEVERITY.index(r.decision), reverse=True)]
    if evaluation.champion is None:
        if all(gate.condition == "not_worse_by" for gate in line.gates):
            reason = (
                "No champion yet, and the line has no absolute gate to judge a first model by: add an at_least gate."
            )
            return Outcome(max(worst, Decision.HOLD, key=SEVERITY.index), (reason, *sentences), results)
        note = [f"{NO_CHAMPION[0].upper()}{NO_CHAMPION[1:]}."]
    else:
        note = []
    if worst is Decision.PROMOTE:
        judged = [
            r for r, gate in zip(results, line.gates, strict=True) if evaluation.champion or gate.not_worse_by is None
        ]
        passed = {1: "The only gate was passed.", 2: "Both gates were passed."}.get(
            len(judged), f"All {len(judged)} gates were passed."
        )
        return Outcome(worst, (passed, *note, *sentences), results)
    return Outcome(worst, (sentences[0], *note, *sentences[1:]), results)


def _judge(line: Line, gate: Gate, evaluation: Evaluation) -> GateResult:
    metric = metric_of(line, gate)
    if gate.condition == "not_worse_by":
        return _difference(line, gate, metric, evaluation)
    if metric.name.startswith("latency"):
        return _latency(gate, metric, evaluation)
    return _absolute(gate, metric, evaluation)


def _absolute(gate: Gate, metric: Metric, evaluation: Evaluation) -> GateResult:
    name, value = _name(gate, metric), evaluation.value(gate.metric, gate.class_)
    labels = find(evaluation.metrics, ("per_class", gate.class_, "labels") if gate.class_ else ("labels",))
    if value is None and not labels:
        what = f"no {gate.class_!r} label" if gate.class_ else "no label"
        return _result(gate, Decision.INSUFFICIENT_DATA, f"{name} cannot be measured: the test split holds {what}.")
    if value is None:
        return _result(gate, Decision.REJECT, f"{name} cannot be measured: the challenger predicted nothing.")
    return _against_threshold(gate, metric, name, value, evaluation.champion_value(gate.metric, gate.class_))


def _latency(gate: Gate, metric: Metric, evaluation: Evaluation) -> GateResult:
    taken = evaluation.challenger.latencies
    found = next((latency for latency in taken if _on(latency, gate.device)), None)
    if found is None:
        devices = ", ".join(latency.device for latency in taken)
        reason = f"{_name(gate, metric)} was not judged: it must hold on {gate.device}, and was measured on {devices}."
        return _result(gate, Decision.HOLD, reason)
    theirs = evaluation.champion.latencies if evaluation.champion else ()
    champion = next((latency for latency in theirs if latency.device == found.device), None)
    return _against_threshold(
        gate,
        metric,
        f"{_name(gate, metric)} on {found.device} ({found.hardware})",
        getattr(found, metric.name),
        getattr(champion, metric.name) if champion else None,
    )


def _on(latency: Latency, device: str | None) -> bool:
    return device is None or device in (latency.device, latency.device.partition(":")[0])


def _against_threshold(gate: Gate, metric: Metric, name: str, value: float, champion: float | None) -> GateResult:
    at_least = gate.condition == "at_least"
    passed = value >= gate.threshold if at_least else value <= gate.threshold
    shown, limit = _apart(metric, value, gate.threshold)
    wanted = f"{'at least' if at_least else 'at most'} {limit} is required"
    reason = f"{name} is {shown}; {wanted}: {'passed' if passed else 'failed'}."
    decision = Decision.PROMOTE if passed else Decision.REJECT
    return _result(gate, decision, reason, value=value, champion_value=champion)


def _difference(line: Line, gate: Gate, metric: Metric, evaluation: Evaluation) -> GateResult:
    name, value = _name(gate, metric), evaluation.value(gate.metric, gate.class_)
    if evaluation.champion is None:
        return _result(gate, Decision.PROMOTE, f"{name} is not compared: there is no champion yet.", value=value)
    champion = evaluation.champion_value(gate.metric, gate.class_)
    difference = evaluation.difference(gate.metric, gate.class_)
    missing = _missing_clusters(line, gate, difference, evaluation)
    if missing or difference is None or difference.value is None:
        reason = f"{name} cannot be compared with the champion's: {missing or 'it is undefined for one of the models.'}"
        return _result(gate, Decision.INSUFFICIENT_DATA, reason, value=value, champion_value=champion)
    low, high = difference.bounds(gate.confidence)
    if low is None or high is None:
        reason = f"{name} cannot be compared with the champion's: it is undefined on every draw of the bootstrap."
        return _result(gate, Decision.INSUFFICIENT_DATA, reason, value=value, champion_value=champion)
    # "Worse" is lower for a score and higher for an error: `best` and `least` bound the challenger's advantage.
    sign = 1 if metric.better == "higher" else -1
    least, best = (low, high) if sign == 1 else (-high, -low)
    change = _compared(metric, difference.value, value, champion)
    if least >= -gate.threshold:
        decision, finding = Decision.PROMOTE, f"{_at_worst(metric, least)}: passed"
    elif best < -gate.threshold:
        decision, finding = Decision.REJECT, f"worse by at least {_number(metric, -best)}: failed"
    else:
        decision, finding = Decision.HOLD, f"it could be worse by {_number(metric, -least)}: not shown either way"
    over = f"over {difference.clusters} {_noun(evaluation, difference.clusters)}"
    return _result(
        gate,
        decision,
        f"{name} is {change}; {_number(metric, gate.threshold)} worse is allowed, "
        f"and at {gate.confidence * 100:g}% confidence {over} {finding}.{_caution(gate, difference, evaluation)}",
        value=value,
        champion_value=champion,
        # Two one-sided bounds at c are the two-sided interval at 2c - 1.
        difference=Interval(low=low, high=high, confidence=round(2 * gate.confidence - 1, 9)),
    )


def _caution(gate: Gate, difference: Difference, evaluation: Evaluation) -> str:
    """A sentence where there are too few clusters for the confidence that the gate asks for.

    No bound reaches below the worst cluster, and all of C clusters may lie on one side of the truth by chance, as C
    coins may fall alike: that leaves 1 - 0.5^C at most, whatever the bootstrap is asked for.
    """
    most = 1 - 0.5**difference.clusters
    if most >= gate.confidence:
        return ""
    noun = _noun(evaluation, difference.clusters)
    return f" Take it as rough: {difference.clusters} {noun} can carry {most * 100:.3g}% at most."


def _missing_clusters(line: Line, gate: Gate, difference: Difference | None, evaluation: Evaluation) -> str | None:
    """What the test split lacks for a difference to be judged; None if nothing."""
    needed = max(MIN_CLUSTERS, line.evaluation.min_clusters)
    there = len(evaluation.clusters)
    carrying = difference.clusters if difference else there
    if carrying >= needed:
        return None
    noun, more = _noun(evaluation, there), needed - carrying
    if there < needed:
        held = (
            f"the test split holds {there} {noun}, and a difference is judged between recordings, never between frames"
        )
    else:
        held = (
            f"only {carrying} of the {there} test {noun} {'has' if carrying == 1 else 'have'} anything to measure it on"
        )
    what = f" with {gate.class_!r} labels" if gate.class_ else ""
    return (
        f"{held}; at least {needed} are needed. Add and label {more} more {_noun(evaluation, more)}{what} "
        f"for the test split ('nightscope add --split test' pins them there)."
    )


def _noun(evaluation: Evaluation, count: int) -> str:
    """What the clusters are."""
    kinds = {cluster.partition(":")[0] for cluster in evaluation.clusters}
    noun = "donor" if kinds == {"donor"} else "recording"
    return noun if count == 1 else f"{noun}s"


def _name(gate: Gate, metric: Metric) -> str:
    title = metric.title[0].upper() + metric.title[1:]
    return f"{title} of {gate.class_}" if gate.class_ else title


def _number(metric: Metric, value: float, digits: int | None = None) -> str:
    text = f"{value:.{metric.digits if digits is None else digits}f}"
    return f"{text} {metric.unit}" if metric.unit else text


def _apart(metric: Metric, value: float, threshold: float) -> tuple[str, str]:
    """Both numbers, with as many digits as it takes to see which is larger."""
    for digits in range(metric.digits, _CLOSE_CALL_DIGITS):
        shown, limit = f"{value:.{digits}f}", f"{threshold:.{digits}f}"
        if shown != limit or value == threshold:
            break
    return _number(metric, value, digits), _number(metric, threshold)


def _compared(metric: Metric, difference: float, value: float | None, champion: float | None) -> str:
    unit = f" {metric.unit}" if metric.unit else ""
    signed = f"{difference:+.{metric.digits}f}{unit}"
    return f"{_number(metric, value or 0.0)} against the champion's {_number(metric, champion or 0.0)} ({signed})"


def _at_worst(metric: Metric, least: float) -> str:
    return (
        f"worse by at most {_number(metric, -least)}" if least < 0 else f"better by at least {_number(metric, least)}"
    )


def _result(
    gate: Gate,
    decision: Decision,
    reason: str,
    *,
    value: float | None = None,
    champion_value: float | None = None,
    difference: Interval | None = None,
) -> GateResult:
    return GateResult(
        gate=gate.id,
        decision=decision,
        reason=reason,
        value=value,
        threshold=gate.threshold,
        champion_value=champion_value,
        difference=difference,
    )
