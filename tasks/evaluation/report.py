"""The verdict as one HTML file that people read: self-contained, offline, printable, well under 5 MB.

The page knows metrics by their addresses, slices by their names and objects by their outlines, so that a new kind of
line needs nothing here.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from tasks.config import Line
from tasks.evaluation.evaluation import Difference, Evaluation
from tasks.evaluation.kinds import kind_of
from tasks.evaluation.plots import ForestRow, forest, line_plot, outlines, signed
from tasks.lake import Lake
from tasks.metrics.judgement import Metric, find
from tasks.schemas import Decision, GateResult, Oid

HEADLINES = {
    Decision.PROMOTE: "Promote",
    Decision.HOLD: "Hold",
    Decision.REJECT: "Reject",
    Decision.INSUFFICIENT_DATA: "Insufficient data",
}
_SLICE = "per_"
_SHOWN_LOSSES = 4
_FRAME_WIDTH_PX = 900
_JPEG_QUALITY = 82


@dataclass(frozen=True)
class Link:
    """Where to read on: a name, what it says (an oid, a run id), and an address if it has one."""

    name: str
    text: str
    url: str | None = None

    @property
    def safe_url(self) -> str | None:
        """The address if it is one of the web: never a script."""
        return self.url if self.url and self.url.startswith(("http://", "https://")) else None


@dataclass(frozen=True)
class Cell:
    """One number of a table: the challenger's, and its distance from the champion's."""

    text: str
    change: str = ""
    state: str = ""


@dataclass(frozen=True)
class Change:
    """How one slice changed in the main metric."""

    name: str
    metric: Metric
    difference: float

    @property
    def worse(self) -> bool:
        """Whether the challenger is worse there, beyond what the shown digits hide."""
        loss = -self.difference if self.metric.better == "higher" else self.difference
        return round(loss, self.metric.digits) > 0


def store_report(
    lake: Lake,
    line: Line,
    evaluation: Evaluation,
    *,
    decision: Decision,
    reasons: Sequence[str],
    gates: Sequence[GateResult],
    at: datetime,
    links: Sequence[Link] = (),
) -> Oid:
    """Write the report of a verdict and store it.

    Args:
        lake: Holds the frames that are shown, and gets the report.
        line: As it was judged.
        evaluation: What was measured.
        decision, reasons, gates: What the gates made of it.
        at: When it was decided.
        links: Validation report, MLflow run and so on, beside what the evaluation itself names.

    Returns:
        The HTML's oid.
    """
    shown = {view.frame_oid for view in evaluation.challenger.worst}
    images = {oid: _jpeg(path.read_bytes()) for oid, path in lake.blobs.fetch_many(shown).items()}
    html = render(line, evaluation, decision=decision, reasons=reasons, gates=gates, at=at, links=links, images=images)
    return lake.blobs.put_bytes(html.encode(), "text/html; charset=utf-8")


def render(
    line: Line,
    evaluation: Evaluation,
    *,
    decision: Decision,
    reasons: Sequence[str],
    gates: Sequence[GateResult],
    at: datetime,
    links: Sequence[Link] = (),
    images: Mapping[Oid, bytes] | None = None,
) -> str:
    """The report's HTML. `images` are JPEGs of the worst frames by oid; frames without one are left out."""
    metrics = kind_of(evaluation.kind).metrics
    worse = sorted(
        (c for m in metrics[:2] for c in _changes(evaluation, m) if c.worse), key=lambda c: -abs(c.difference)
    )
    template = _environment().from_string(files("tasks.evaluation").joinpath("report.html.j2").read_text("utf-8"))
    return template.render(
        line=line,
        evaluation=evaluation,
        decision=decision,
        headline=HEADLINES[decision],
        reasons=reasons,
        gates=gates,
        headlines=HEADLINES,
        at=at,
        links=links,
        lead=[_lead(evaluation, metric) for metric in metrics[:2]],
        worse=worse[:_SHOWN_LOSSES],
        hidden=max(0, len(worse) - _SHOWN_LOSSES),
        weakest=_weakest(evaluation, metrics[0]),
        main=metrics[0],
        forest=_forest(line, evaluation, metrics),
        tables=_tables(evaluation, metrics),
        plots=_plots(evaluation),
        frames=[
            (
                view,
                Markup(base64.b64encode(images[view.frame_oid]).decode()),
                outlines(view.labelled),
                outlines(view.predicted),
            )
            for view in evaluation.challenger.worst
            if images and view.frame_oid in images
        ],
        signed=signed,
        number=_number,
    )


def _environment() -> Environment:
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _jpeg(data: bytes) -> bytes:
    """A frame small enough to stand in a page; its outlines keep the frame's own pixels."""
    import cv2

    image = np.asarray(cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR))
    if image.shape[1] > _FRAME_WIDTH_PX:
        height = round(image.shape[0] * _FRAME_WIDTH_PX / image.shape[1])
        image = cv2.resize(image, (_FRAME_WIDTH_PX, height), interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return bytes(encoded)


def _number(metric: Metric, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.{metric.digits}f}{' ' + metric.unit if metric.unit else ''}"


def _lead(evaluation: Evaluation, metric: Metric) -> dict[str, Any]:
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
    return [(key, name) for key in evaluation.metrics if key.startswith(_SLICE) for name in evaluation.metrics[key]]


def _changes(evaluation: Evaluation, metric: Metric) -> list[Change]:
    """Overall and slice by slice: challenger minus champion in one metric."""
    if evaluation.champion is None:
        return []
    out = []
    for path in [(), *_slices(evaluation)]:
        mine, theirs = (find(tree, (*path, metric.name)) for tree in (evaluation.metrics, evaluation.champion_metrics))
        if mine is not None and theirs is not None:
            name = f"{path[0].removeprefix(_SLICE)} {path[1]}" if path else "overall"
            out.append(Change(f"{metric.title}, {name}", metric, mine - theirs))
    return out


def _weakest(evaluation: Evaluation, metric: Metric) -> list[tuple[str, float]]:
    """The slices a first model is worst at."""
    found = [
        (f"{kind.removeprefix(_SLICE)} {name}", find(evaluation.metrics, (kind, name, metric.name)))
        for kind, name in _slices(evaluation)
    ]
    known = [(name, float(value)) for name, value in found if value is not None]
    return sorted(known, key=lambda item: item[1])[:3]


def _forest(line: Line, evaluation: Evaluation, metrics: Sequence[Metric]) -> Markup | None:
    """The differences of the first two metrics overall and in every slice, and of whatever else a gate compares."""
    named = {metric.name: metric for metric in metrics}
    margins = {(gate.metric, gate.class_): gate.not_worse_by for gate in line.gates}
    rows = []
    for difference in sorted(evaluation.differences, key=lambda d: [m.name for m in metrics].index(d.path[-1])):
        metric = named[difference.path[-1]]
        margin = margins.get((metric.name, difference.path[1] if difference.path[0] == "per_class" else None))
        if len(difference.path) > 1 and difference.path[0] != "per_class":
            margin = None
        if difference.value is None or (metric not in metrics[:2] and margin is None):
            continue
        rows.append(_forest_row(difference, metric, margin, evaluation.confidence))
    return forest(rows) if rows else None


def _forest_row(difference: Difference, metric: Metric, margin: float | None, confidence: float) -> ForestRow:
    """Signed so that right is better, also for errors."""
    sign = 1 if metric.better == "higher" else -1
    found = difference.interval(confidence)
    low, high = (
        (None, None) if found.low is None or found.high is None else sorted((sign * found.low, sign * found.high))
    )
    name, whole = (difference.path[1], False) if len(difference.path) > 1 else (metric.title, True)
    return ForestRow(name, whole, sign * (difference.value or 0.0), low, high, margin, metric.digits)


def _tables(evaluation: Evaluation, metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """One table for each kind of slice."""
    out = []
    for key in dict.fromkeys(key for key, _ in _slices(evaluation)):
        rows = evaluation.metrics[key]
        columns = [metric for metric in metrics if any(metric.name in row for row in rows.values())]
        if columns:
            body = [
                (name, row.get("labels"), [_cell(evaluation, metric, (key, name)) for metric in columns])
                for name, row in rows.items()
            ]
            out.append({"title": key.removeprefix(_SLICE), "columns": columns, "rows": body})
    return out


def _cell(evaluation: Evaluation, metric: Metric, where: tuple[str, str]) -> Cell:
    mine = find(evaluation.metrics, (*where, metric.name))
    theirs = find(evaluation.champion_metrics, (*where, metric.name))
    if mine is None or theirs is None:
        return Cell(_number(metric, mine))
    change = Change("", metric, mine - theirs)
    shown = signed(mine - theirs, metric.digits)
    state = "" if shown[0] not in "+−" else "worse" if change.worse else "better"
    return Cell(_number(metric, mine), shown, state)


def _plots(evaluation: Evaluation) -> list[dict[str, Any]]:
    before = {plot.title: plot for plot in evaluation.champion.plots} if evaluation.champion else {}
    return [
        {"title": plot.title, "svg": line_plot(plot, before.get(plot.title)), "names": list(plot.series)}
        for plot in evaluation.challenger.plots
        if plot.series
    ]
