"""Whether a line's gates make sense at all: known before anything is trained."""

from __future__ import annotations

import re

from tasks.config import Gate, Line
from tasks.errors import ConfigError
from tasks.evaluation.kinds import kind_of
from tasks.metrics.judgement import Metric

_DEVICE = re.compile(r"cpu|cuda(:\d+)?|mps")


def check_gates(line: Line) -> None:
    """Check every gate of a line against what its kind can measure.

    Raises:
        ConfigError: Listing all faults of all gates at once; or the line's kind cannot be evaluated.
    """
    metrics = {metric.name: metric for metric in kind_of(line.kind).metrics}
    faults = [fault for gate in line.gates for fault in _faults(gate, metrics, line)]
    if faults:
        raise ConfigError(
            f"line {line.line}: {len(faults)} fault(s) in its gates: {'; '.join(faults)}",
            expected=f"metrics of a {line.kind} line: {', '.join(metrics)}",
            fix=f"correct gates: in dags/lines/{line.line}.yaml",
        )


def metric_of(line: Line, gate: Gate) -> Metric:
    """The metric a gate is about. Only for gates that `check_gates` passed."""
    return next(metric for metric in kind_of(line.kind).metrics if metric.name == gate.metric)


def _faults(gate: Gate, metrics: dict[str, Metric], line: Line) -> list[str]:
    if gate.metric not in metrics:
        return [f"gate {gate.id}: unknown metric {gate.metric!r}"]
    metric = metrics[gate.metric]
    faults = []
    if gate.class_ and gate.class_ not in line.classes:
        faults.append(f"unknown class {gate.class_!r} (classes: {', '.join(line.classes)})")
    if gate.class_ and not metric.per_class:
        faults.append(f"{metric.name} is not measured for a single class")
    if gate.condition == "at_least" and metric.better == "lower":
        faults.append(f"less of {metric.name} is better: use at_most")
    if gate.condition == "at_least" and metric.better == "higher" and gate.threshold > 1:
        faults.append(f"{metric.name} is at most 1, so that {gate.threshold:g} can never be reached")
    if gate.condition == "at_most" and metric.better == "higher":
        faults.append(f"more of {metric.name} is better: use at_least")
    if gate.condition == "not_worse_by" and not metric.paired:
        faults.append(f"{metric.name} has no interval to compare by: use at_most or at_least")
    if gate.device and not metric.name.startswith("latency"):
        faults.append(f"{metric.name} does not depend on a device")
    if gate.device and not _DEVICE.fullmatch(gate.device):
        faults.append(f"unknown device {gate.device!r} (cpu, cuda, cuda:0 ...)")
    return [f"gate {gate.id}: {fault}" for fault in faults]
