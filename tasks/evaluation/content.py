"""What the report's page says of an evaluation, part by part, in values that its template only has to place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tasks.config import Line
from tasks.evaluation.evaluation import Difference, Evaluation, Plot, Table
from tasks.evaluation.plots import ForestRow, forest, line_plot, signed
from tasks.evaluation.tables import SLICE
from tasks.kind import Kind, Words
from tasks.metrics.judgement import Metric, MetricPath, address, find, metric_of_slices, parts_of

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


def overall(evaluation: Evaluation, metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """Every metric over all classes together, with its interval and its distance from the champion's."""
    found = (lead(evaluation, metric) for metric in metrics if metric.paired and metric.overall)
    return [{**row, "state": _cell(evaluation, row["metric"], ()).state} for row in found if row["value"] is not None]


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


def weakest(evaluation: Evaluation, metrics: Sequence[Metric]) -> tuple[Metric, list[tuple[str, float]]]:
    """The slices a first model is worst at, and by which metric."""
    metric = metric_of_slices(metrics, evaluation.metrics)
    found = [
        (f"{kind.removeprefix(SLICE)} {name}", find(evaluation.metrics, (kind, name, metric.name)))
        for kind, name in _slices(evaluation)
    ]
    known = [(name, float(value)) for name, value in found if value is not None]
    return metric, sorted(known, key=lambda item: item[1])[:3]


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
    if not whole and not metric.overall:  # then no row above names the metric
        name = f"{metric.short or metric.title}, {name}"
    return ForestRow(name, whole, sign * (difference.value or 0.0), low, high, margin, metric.digits)


def slice_tables(evaluation: Evaluation, metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """One table for each kind of slice."""
    out = []
    for key in dict.fromkeys(key for key, _ in _slices(evaluation)):
        rows = evaluation.metrics[key]
        columns = [m for m in metrics if m.column and any(m.name in row for row in rows.values())]
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
            images = any(row.get("images", 1) != 1 for row in rows.values())  # of stills each is one
            out.append({"title": key.removeprefix(SLICE), "columns": columns, "rows": body, "images": images})
    return out


def _cell(evaluation: Evaluation, metric: Metric, where: tuple[str, ...]) -> Cell:
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
    before = parts_of(evaluation.champion_metrics)
    for name, own in parts_of(evaluation.metrics).items():
        parts[name] = (own, before.get(name))
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


def _in_the_key(evaluation: Evaluation, plot: Plot, name: str, metrics: Sequence[Metric]) -> str:
    """A line's metric with its interval, e.g. '0.912 (0.871 to 0.940)'; '' where the plot names none."""
    metric = next((metric for metric in metrics if metric.name == plot.metric), None)
    if metric is None:
        return ""
    for family in metric.families:
        where = (f"{SLICE}{family}", name, metric.name)
        value, own = find(evaluation.metrics, where), find(evaluation.challenger.intervals, where) or {}
        if value is not None:
            low, high = own.get("low"), own.get("high")
            around = f" ({number(metric, low)} to {number(metric, high)})" if None not in (low, high) else ""
            return f"{number(metric, value)}{around}"
    return ""


@dataclass(frozen=True)
class Share:
    """One count of a confusion table: its share of what was labelled so, and whether it is what ought to be."""

    text: str
    share: float | None
    right: bool


def confusion(table: Table) -> dict[str, Any]:
    """A confusion table with each count's share of the pictures or objects with that label."""
    last = len(table.rows) - 1
    rows = []
    for r, name in enumerate(table.rows):
        cells = []
        for c, count in enumerate(table.counts[r]):
            if table.nothing and r == c == last:  # what was neither labelled nor predicted is not countable
                cells.append(Share("", None, True))
                continue
            whole = _whole(table, r, c)
            right = c in (0, 2) if table.rows_are == "labels" else r == c
            cells.append(Share(f"{count:,}", count / whole if whole else None, right))
        rows.append((name, cells))
    return {"columns": table.columns, "rows": rows, "rows_are": table.rows_are}


def _whole(table: Table, r: int, c: int) -> int:
    """How many bear the label that a count belongs to; 0 where it belongs to none."""
    if table.rows_are == "labelled":
        return sum(table.counts[r])
    if table.rows_are == "labels":  # two columns for pictures with the label, then two for those without
        return sum(table.counts[r][c // 2 * 2 : c // 2 * 2 + 2])
    return 0 if table.nothing and c == len(table.columns) - 1 else sum(row[c] for row in table.counts)


def groups(evaluation: Evaluation, words: Words) -> dict[str, str]:
    """What the intervals' draws consist of, e.g. {'one': 'recording', 'many': 'recordings', 'whole': ...}."""
    if evaluation.of_pictures and evaluation.cluster_noun == "picture":
        return {"one": words.image, "many": words.images, "whole": words.images}
    many = f"{evaluation.cluster_noun}s"
    return {"one": evaluation.cluster_noun, "many": many, "whole": f"whole {many}"}


def plots(evaluation: Evaluation, metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    before = {plot.title: plot for plot in evaluation.champion.plots} if evaluation.champion else {}
    return [
        {
            "title": plot.title,
            "svg": line_plot(plot, before.get(plot.title)),
            "names": [
                (place, name, _in_the_key(evaluation, plot, name, metrics))
                for place, (name, (x, _)) in enumerate(plot.series.items())
                if x
            ],
            "diagonal": plot.diagonal,
            "chance": plot.chance,
        }
        for plot in evaluation.challenger.plots
        if any(x for x, _ in plot.series.values())
    ]
