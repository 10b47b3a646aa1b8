"""Absolute gates (`at_least`, `at_most`): the measured value meets a number, or it does not."""

from __future__ import annotations

from tasks.evaluation.evaluation import Latency
from tasks.gates.findings import Asked, Finding
from tasks.gates.wording import apart, name_of, number, place
from tasks.metrics.judgement import COST
from tasks.schemas import Decision


def judge_value(asked: Asked, where: str | None) -> Finding:
    """The challenger's metric against the gate's number."""
    if asked.metric in COST:
        return _cost(asked)
    evaluation, name = asked.evaluation, name_of(asked.metric, where)
    value = evaluation.value(asked.gate.metric, where)
    if value is None and not asked.labels(where):
        there = f"no label of {place(where)}" if where else "no label"
        return Finding(None, f"{name} cannot be measured: the test split holds {there}.", "no labels")
    if value is None:
        reason = f"{name} cannot be measured: the challenger predicted nothing."
        return Finding(Decision.REJECT, reason, "the challenger predicted nothing")
    return _against_threshold(asked, name, value, evaluation.champion_value(asked.gate.metric, where))


def _cost(asked: Asked) -> Finding:
    """What was taken once for each device is judged on the gate's; the weights weigh the same everywhere."""
    metric, evaluation = asked.metric, asked.evaluation
    name = name_of(metric, None)
    if metric.name not in Latency.model_fields:
        value = evaluation.value(metric.name)
        if value is None:
            return Finding(Decision.HOLD, f"{name} was not judged: it was not measured.", "not measured")
        return _against_threshold(asked, name, value, evaluation.champion_value(metric.name))
    taken, device = evaluation.challenger.latencies, asked.gate.device
    found = next((latency for latency in taken if _on(latency, device)), None)
    if found is None:
        devices = ", ".join(latency.device for latency in taken) or "none"
        reason = f"{name} was not judged: it must hold on {device}, and was measured on {devices}."
        return Finding(Decision.HOLD, reason, f"not measured on {device}")
    theirs = evaluation.champion.latencies if evaluation.champion else ()
    champion = next((latency for latency in theirs if latency.device == found.device), None)
    return _against_threshold(
        asked,
        f"{name} on {found.device} ({found.hardware})",
        getattr(found, metric.name),
        getattr(champion, metric.name) if champion else None,
    )


def _on(latency: Latency, device: str | None) -> bool:
    return device is None or device in (latency.device, latency.device.partition(":")[0])


def _against_threshold(asked: Asked, name: str, value: float, champion: float | None) -> Finding:
    gate, metric = asked.gate, asked.metric
    at_least = gate.condition == "at_least"
    passed = value >= gate.threshold if at_least else value <= gate.threshold
    shown = apart(metric, value, gate.threshold)
    wanted = f"{gate.condition.replace('_', ' ')} {number(metric, gate.threshold)} is required"
    reason = f"{name} is {shown}; {wanted}: {'passed' if passed else 'failed'}."
    decision = Decision.PROMOTE if passed else Decision.REJECT
    return Finding(decision, reason, shown, value=value, champion_value=champion)
