"""The diagnosis as one HTML file: readable offline and on paper, well under 5 MB. It stands in no blob."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.config import Line
from tasks.evaluation.report import Link
from tasks.experiments.diagnosis.findings import DiagnosisReport, LearningCurve
from tasks.kind import DoubtfulLabel, ShownFrame
from tasks.lake import Lake

if TYPE_CHECKING:
    from markupsafe import Markup

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_AROUND = 1.5
"""Longer sides of a box that are shown around it."""
SORTS = {
    "unlabelled": "Confident predictions that no label comes near",
    "otherwise": "Labels that models call otherwise",
    "unfound": "Labels that no model finds",
}


def render_report(lake: Lake, line: Line, found: DiagnosisReport) -> str:
    """Render the page.

    Args:
        lake: Holds the frames that are shown.
        line: Whose diagnosis.
        found: All of it.
    """
    import jinja2

    from tasks.evaluation.plots import signed
    from tasks.exploration.frames import Frames
    from tasks.exploration.report import small_pictures

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATE.parent), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    shown = [_shown(doubt) for doubt in found.label_noise.doubts]
    pictures = small_pictures(Frames(lake), shown)
    doubts = defaultdict(list)
    for doubt, frame in zip(found.label_noise.doubts, shown, strict=True):
        doubts[doubt.sort].append((doubt, pictures.get((frame.frame_oid, frame.box_px), "")))
    return environment.get_template(_TEMPLATE.name).render(
        line=line, found=found, sorts=SORTS, doubts=doubts, signed=signed, what=what_of, link_of=_link_of,
        curve=curve_plot(found.learning_curve) if found.learning_curve else None,
    )  # fmt: skip


def what_of(doubt: DoubtfulLabel) -> str:
    """A doubt in a few words."""
    if doubt.sort == "unfound":
        return f"labelled {doubt.label}, found by none of {doubt.models} (best score {doubt.score:.2f})"
    given = f"labelled {doubt.label}" if doubt.label else "not labelled"
    return f"{given}; {doubt.likely} {doubt.score:.2f} by {'all ' if doubt.models > 1 else ''}{doubt.models}"


def curve_plot(curve: LearningCurve) -> Markup | None:
    """A line for each seed over the share of the groups; None where nothing was measured."""
    from tasks.evaluation.evaluation import Plot
    from tasks.evaluation.plots import line_plot

    most = max(point.groups for point in curve.points)
    series = {}
    for seed in curve.seeds:
        own = [(p.groups / most, p.value) for p in curve.points if p.seed == seed and p.value is not None]
        if own:
            series[f"seed {seed}"] = (tuple(x for x, _ in own), tuple(y for _, y in own))
    if not series:
        return None
    plot = Plot(title="Learning curve", x_title="share of the groups", y_title=curve.metric, series=series)
    return line_plot(plot, None)


def _shown(doubt: DoubtfulLabel) -> ShownFrame:
    if doubt.box_px is None:
        return ShownFrame(frame_oid=doubt.frame_oid, caption="")
    x, y, width, height = doubt.box_px
    around = _AROUND * max(width, height)
    box = (x - around, y - around, width + 2 * around, height + 2 * around)
    return ShownFrame(frame_oid=doubt.frame_oid, caption="", box_px=box)


def _link_of(doubt: DoubtfulLabel) -> Link:
    return Link("labeling task", "in Label Studio", doubt.link)
