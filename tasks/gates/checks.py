"""Whether a line's gates make sense at all: known before anything is trained."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from tasks.config import Gate, Line
from tasks.errors import ConfigError
from tasks.kind import Kind
from tasks.metrics.judgement import COST, Metric

_DEVICE = re.compile(r"cpu|cuda(:\d+)?|mps")


def check_gates(line: Line, kind: Kind) -> None:
    """Check every gate of a line against what its kind can measure.

    Raises:
        ConfigError: Listing all faults of all gates at once.
    """
    metrics, slices = {metric.name: metric for metric in kind.metrics.METRICS}, kind.metrics.slices(line)
    faults = [f"gate {gate.id}: {fault}" for gate in line.gates for fault in _faults(gate, metrics, slices)]
    if faults:
        families = "; ".join(f"{family}: {', '.join(names)}" for family, names in slices.items())
        raise ConfigError(
            f"line {line.line}: {len(faults)} fault(s) in its gates: {'; '.join(faults)}",
            expected=f"metrics of a {line.kind} line: {', '.join(metrics)}; its slices: {families}",
            fix=f"correct gates: in dags/lines/{line.line}.yaml",
        )


def metric_of(kind: Kind, gate: Gate) -> Metric:
    """The metric a gate is about. Only for gates that `check_gates` passed."""
    return next(metric for metric in kind.metrics.METRICS if metric.name == gate.metric)


def _faults(gate: Gate, metrics: Mapping[str, Metric], slices: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    metric = metrics.get(gate.metric)
    if metric is None:
        yield f"unknown metric {gate.metric!r}"
    elif not metric.overall and not gate.where and not gate.for_each:
        whole = f"macro_{metric.name}"
        yield f"{metric.name} is measured for each class, not overall: name a class" + (
            f", or ask for {whole}" if whole in metrics else ""
        )
    if gate.class_ and gate.class_ not in slices.get("class", ()):
        yield f"unknown class {gate.class_!r} (classes: {', '.join(slices.get('class', ()))})"
    elif gate.where:
        yield from _place_faults(gate.where, metric, slices, whole_family=False)
    for asked in gate.for_each:
        yield from _place_faults(asked, metric, slices, whole_family=True)
    if gate.for_each and gate.condition == "better_by":
        yield "superiority is asked in one place, overall or in one slice, not in each of many"
    if gate.device and not _DEVICE.fullmatch(gate.device):
        yield f"unknown device {gate.device!r} (cpu, cuda, cuda:0 ...)"
    if metric is not None:
        yield from _condition_faults(gate, metric)


def _place_faults(
    asked: str, metric: Metric | None, slices: Mapping[str, tuple[str, ...]], *, whole_family: bool
) -> Iterator[str]:
    """Of one slice such as 'size.small', or, where it may be asked for, of a whole family such as 'size'."""
    family, dot, name = asked.partition(".")
    if family not in slices:
        yield f"unknown slice family {family!r} (families: {', '.join(slices)})"
    elif dot and name not in slices[family]:
        yield f"unknown {family} {name!r} ({', '.join(f'{family}.{known}' for known in slices[family])})"
    elif not dot and not whole_family:
        yield f"{family!r} is a whole family of slices: name one, as in '{family}.{slices[family][0]}', or use for_each"
    if metric and family in slices and family not in metric.families:
        where = "a single class" if family == "class" else f"slices by {family}"
        yield f"{metric.name} is not measured for {where}"


def _condition_faults(gate: Gate, metric: Metric) -> Iterator[str]:
    if gate.compares and not metric.paired:
        yield f"{metric.name} has no interval to compare by: use at_most or at_least"
    if gate.device and metric not in COST:
        yield f"{metric.name} does not depend on a device"
    if gate.condition == "at_least" and metric.better == "lower":
        yield f"less of {metric.name} is better: use at_most"
    if gate.condition == "at_most" and metric.better == "higher":
        yield f"more of {metric.name} is better: use at_least"
    if metric.better == "higher" and _beyond(gate):
        yield f"{metric.name} is at most 1, so that {gate.condition} {gate.threshold:g} {_beyond(gate)}"


def _beyond(gate: Gate) -> str:
    """What is wrong with a number that no score between 0 and 1 can part."""
    if gate.condition == "not_worse_by":
        return "can never fail" if gate.threshold >= 1 else ""
    if gate.condition == "better_by":
        return "can never be reached" if gate.threshold >= 1 else ""
    return "can never be reached" if gate.condition == "at_least" and gate.threshold > 1 else ""
