"""What the report's page says of an evaluation, part by part, in values that its template only has to place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tasks.config import Line
from tasks.evaluation.evaluation import Difference, Evaluation
from tasks.evaluation.plots import ForestRow, forest, line_plot, signed
from tasks.evaluation.tables import SLICE
from tasks.kind import Kind
from tasks.metrics.judgement import Metric, MetricPath, address, find

NAMED_LOSSES = 4
"""In the page's first lines."""
LISTED_LOSSES = 12
"""In the table of losses."""


@dataclass(frozen=True)
class Cell:
    """One number of a table: the challenger's, and its distance from the champion's."""

    text: str
    change: str = ""
    state: str = ""


@dataclass(frozen=True)
class Loss:
    """A metric in a slice where the challenger measured worse.

    Attributes:
        where: 'overall', 'class sperm', 'recording a.mp4'.
        sure: Whether the whole interval is on the worse side.
    """

    where: str
    metric: Metric
    value: float
    champion: float
    low: float | None
    high: float | None

    @property
    def sure(self) -> bool:
        """Whether the whole interval lies on the worse side."""
        if self.low is None or self.high is None:
            return False
        return self.high < 0 if self.metric.better == "higher" else self.low > 0

    @property
    def difference(self) -> float:
        """Challenger minus champion."""
        return self.value - self.champion

    @property
    def shown(self) -> bool:
        """Whether there is a loss at all, beyond what the shown digits hide."""
        loss = -self.difference if self.metric.better == "higher" else self.difference
        return round(loss, self.metric.digits) > 0


def number(metric: Metric, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.{metric.digits}f}{' ' + metric.unit if metric.unit else ''}"


def lead(evaluation: Evaluation, metric: Metric) -> dict[str, Any]:
    """A headline metric: both values, the difference and its interval."""
    difference = evaluation.difference(metric.name)
    own = find(evaluation.challenger.intervals, (metric.name,)) or {}
    return {
        "metric": metric,
        "value": evaluation.value(metric.name),
        "champion": evaluation.champion_value(metric.name),
        "difference": difference.value if difference else None,
        "interval": difference.interval(evaluation.confidence) if difference else None,
        "clusters": difference.clusters if difference else None,
        "low": own.get("low"),
        "high": own.get("high"),
    }


def _slices(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Every (kind of slice, name): ('per_class', 'sperm'), ('per_recording', 'a.mp4')."""
    return [(key, name) for key in evaluation.metrics if key.startswith(SLICE) for name in evaluation.metrics[key]]


def losses(evaluation: Evaluation, metrics: Sequence[Metric]) -> list[Loss]:
    """Every metric and slice in which the challenger measured worse: sure ones first, then by metric, then by size."""
    if evaluation.champion is None:
        return []
    intervals = {d.path: d.interval(evaluation.confidence) for d in evaluation.differences}
    found = []
    for rank, metric in enumerate(metrics):
        for path in [(), *_slices(evaluation)]:
            where = (*path, metric.name)
            mine, theirs = (find(tree, where) for tree in (evaluation.metrics, evaluation.champion_metrics))
            if mine is None or theirs is None:
                continue
            name = f"{path[0].removeprefix(SLICE)} {path[1]}" if path else "overall"
            own = intervals.get(where)
            loss = Loss(name, metric, mine, theirs, own.low if own else None, own.high if own else None)
            if loss.shown:
                found.append((not loss.sure, rank, -abs(loss.difference), loss))
    return [loss for *_, loss in sorted(found, key=lambda item: item[:3])]


def top_losses(losses: Sequence[Loss], metrics: Sequence[Metric]) -> list[Loss]:
    """The few of the headline metrics that the first lines name: the largest."""
    own = [loss for loss in losses if loss.metric in metrics]
    return sorted(own, key=lambda loss: -abs(loss.difference))[:NAMED_LOSSES]


def weakest(evaluation: Evaluation, metric: Metric) -> list[tuple[str, float]]:
    """The slices a first model is worst at."""
    found = [
        (f"{kind.removeprefix(SLICE)} {name}", find(evaluation.metrics, (kind, name, metric.name)))
        for kind, name in _slices(evaluation)
    ]
    known = [(name, float(value)) for name, value in found if value is not None]
    return sorted(known, key=lambda item: item[1])[:3]


def forest_plot(line: Line, kind: Kind, evaluation: Evaluation) -> Markup | None:
    """The differences of the first two metrics overall and in every slice, and of whatever else a gate compares."""
    metrics = kind.metrics.METRICS
    named = {metric.name: metric for metric in metrics}
    margins = _margins(line, kind, evaluation)
    rows = []
    for difference in sorted(evaluation.differences, key=lambda d: list(named).index(d.path[-1])):
        metric, margin = named[difference.path[-1]], margins.get(difference.path)
        if difference.value is None or (metric not in metrics[:2] and margin is None):
            continue
        rows.append(_forest_row(difference, metric, margin, evaluation.confidence))
    return forest(rows) if rows else None


def _margins(line: Line, kind: Kind, evaluation: Evaluation) -> dict[MetricPath, float]:
    """How much worse the gates allow a metric to be, by its address; the strictest where several ask."""
    slices = kind.metrics.slices(line)
    margins: dict[MetricPath, float] = {}
    for gate in line.gates:
        if gate.not_worse_by is None:
            continue
        asked = [
            f"{family}.{name}"
            for each in gate.for_each
            for family, _, one in [each.partition(".")]
            for name in ([one] if one else slices.get(family, ()))
        ]
        for where in asked if gate.for_each else [gate.where]:
            path = address(gate.metric, where)
            margins[path] = min(gate.not_worse_by, margins.get(path, gate.not_worse_by))
    return margins


def _forest_row(difference: Difference, metric: Metric, margin: float | None, confidence: float) -> ForestRow:
    """Signed so that right is better, also for errors."""
    sign = 1 if metric.better == "higher" else -1
    found = difference.interval(confidence)
    low, high = (
        (None, None) if found.low is None or found.high is None else sorted((sign * found.low, sign * found.high))
    )
    name, whole = (difference.path[1], False) if len(difference.path) > 1 else (metric.title, True)
    return ForestRow(name, whole, sign * (difference.value or 0.0), low, high, margin, metric.digits)


def slice_tables(evaluation: Evaluation, metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """One table for each kind of slice."""
    out = []
    for key in dict.fromkeys(key for key, _ in _slices(evaluation)):
        rows = evaluation.metrics[key]
        columns = [metric for metric in metrics if any(metric.name in row for row in rows.values())]
        if columns:
            body = [
                (
                    name,
                    row.get("about"),
                    row.get("images"),
                    row.get("labels"),
                    [_cell(evaluation, metric, (key, name)) for metric in columns],
                )
                for name, row in rows.items()
            ]
            images = any("images" in row for row in rows.values())
            out.append({"title": key.removeprefix(SLICE), "columns": columns, "rows": body, "images": images})
    return out


def _cell(evaluation: Evaluation, metric: Metric, where: tuple[str, str]) -> Cell:
    mine = find(evaluation.metrics, (*where, metric.name))
    theirs = find(evaluation.champion_metrics, (*where, metric.name))
    if mine is None or theirs is None:
        return Cell(number(metric, mine))
    loss = Loss("", metric, mine, theirs, None, None)
    shown = signed(mine - theirs, metric.digits)
    state = "" if shown[0] not in "+−" else "worse" if loss.shown else "better"
    return Cell(number(metric, mine), shown, state)


def counts(evaluation: Evaluation) -> dict[str, Any] | None:
    """Labelled and counted per frame, of all recordings and of each, class by class."""
    whole = evaluation.metrics.get("count_per_frame")
    if not whole:
        return None
    parts = {"all recordings": (evaluation.metrics, evaluation.champion_metrics)}
    for name, own in evaluation.metrics["per_recording"].items():
        parts[name] = (own, find(evaluation.champion_metrics, ("per_recording", name)))
    rows = [
        (
            name,
            own.get("images", evaluation.images),
            [(find(own, ("count_per_frame", cls)), find(theirs, ("count_per_frame", cls))) for cls in whole],
        )
        for name, (own, theirs) in parts.items()
    ]
    return {"classes": list(whole), "rows": rows if len(rows) > 2 else rows[:1]}


def breakdown(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The kinds of errors, the dearest first, with bars relative to the dearest of both models."""
    before = {kind.name: kind for kind in evaluation.champion.breakdown} if evaluation.champion else {}
    kinds = sorted(evaluation.challenger.breakdown, key=lambda kind: (-kind.cost, -kind.count))
    most = max([kind.cost for kind in (*kinds, *before.values())] or [0.0])
    return [
        {
            "kind": kind,
            "before": before.get(kind.name),
            "share": 100 * kind.cost / most if most else 0.0,
            "share_before": 100 * before[kind.name].cost / most if most and kind.name in before else None,
        }
        for kind in kinds
    ]


def plots(evaluation: Evaluation) -> list[dict[str, Any]]:
    before = {plot.title: plot for plot in evaluation.champion.plots} if evaluation.champion else {}
    return [
        {
            "title": plot.title,
            "svg": line_plot(plot, before.get(plot.title)),
            "names": [(number, name) for number, (name, (x, _)) in enumerate(plot.series.items()) if x],
            "diagonal": plot.diagonal,
        }
        for plot in evaluation.challenger.plots
        if any(x for x, _ in plot.series.values())
    ]
