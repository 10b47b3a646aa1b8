"""The verdict as one HTML file that people read: self-contained, offline, printable, well under 5 MB.

The page knows metrics by their addresses, slices by their names and objects by their outlines, so that a new kind of
line needs nothing here.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from tasks.config import Line
from tasks.evaluation import content
from tasks.evaluation.evaluation import Evaluation, Latency, ModelResult
from tasks.evaluation.gallery import cards
from tasks.evaluation.plots import outlines, signed
from tasks.evaluation.saliency import overlays
from tasks.evaluation.unlearned import unlearned
from tasks.kind import Image, Kind
from tasks.lake import Lake
from tasks.schemas import Decision, GateResult, Oid

HEADLINES = {
    Decision.PROMOTE: "Promote",
    Decision.HOLD: "Hold",
    Decision.REJECT: "Reject",
    Decision.INSUFFICIENT_DATA: "Insufficient data",
}
_FRAME_WIDTH_PX = 900
_FRAME_AREA_PX2 = 600_000
_CARD_AREA_PX2 = 120_000
"""Of a whole picture, of which there are more, and each perhaps twice."""
_JPEG_QUALITY = 82
_HASH = re.compile(r"[0-9a-fA-F]{32,}")
_HASH_DIGITS = 8


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
class Sheet:
    """A picture of what the model learned from: of which stage, in words ('' where there is one), and the JPEG.

    Where it is `predicted`, it shows pictures of the validation split with their labels and the model's predictions.
    """

    stage: str
    jpeg: bytes
    predicted: bool = False

    @property
    def base64(self) -> Markup:
        """The picture as it stands in a page."""
        return Markup(base64.b64encode(self.jpeg).decode())


@dataclass(frozen=True)
class Judged:
    """What the gates made of an evaluation: the decision, why (what decided it first), each gate's finding, when.

    Without a decision nobody was asked: the model was measured by itself.
    """

    decision: Decision | None
    reasons: Sequence[str]
    gates: Sequence[GateResult]
    at: datetime


def store_report(
    lake: Lake, line: Line, kind: Kind, evaluation: Evaluation, judged: Judged, *, links: Sequence[Link] = (),
    sheets: Sequence[Sheet] = (),
) -> Oid:  # fmt: skip
    """Write the report of a verdict and store it; as `render_stored`.

    Returns:
        The HTML's oid.
    """
    html = render_stored(lake, line, kind, evaluation, judged, links=links, sheets=sheets)
    return lake.blobs.put_bytes(html.encode(), "text/html; charset=utf-8")


def render_stored(
    lake: Lake, line: Line, kind: Kind, evaluation: Evaluation, judged: Judged, *, links: Sequence[Link] = (),
    sheets: Sequence[Sheet] = (),
) -> str:  # fmt: skip
    """Write the report of an evaluation with the frames that the lake holds.

    Args:
        lake: Holds the frames that are shown.
        line: As it was judged.
        kind: Of the line.
        evaluation: What was measured.
        judged: What the gates made of it.
        links: Validation report, leak audit, MLflow run and so on, beside what the evaluation itself names.
        sheets: What the challenger saw in training, stage by stage, and what it predicted then.

    Returns:
        The HTML.
    """
    worst = evaluation.challenger.worst
    paths = lake.blobs.fetch_many({view.frame_oid for view in worst})
    area = _CARD_AREA_PX2 if any(view.whole for view in worst) else _FRAME_AREA_PX2
    images = {oid: _jpeg(path.read_bytes(), area) for oid, path in paths.items()}
    looked = overlays(lake, line, kind, evaluation.challenger.model, worst, paths)
    heats = {oid: (_encoded(overlay.image, area), overlay.label) for oid, overlay in looked.items()}
    return render(line, kind, evaluation, judged, links=links, images=images, heats=heats, sheets=sheets)


def render(
    line: Line,
    kind: Kind,
    evaluation: Evaluation,
    judged: Judged,
    *,
    links: Sequence[Link] = (),
    images: Mapping[Oid, bytes] | None = None,
    heats: Mapping[Oid, tuple[bytes, str]] | None = None,
    sheets: Sequence[Sheet] = (),
) -> str:
    """The report's HTML.

    Args:
        line, kind, evaluation, judged, links: As for `store_report`.
        images: JPEGs of the worst frames by oid; frames without one are left out.
        heats: The same with the saliency over them, and the class that it is about.
        sheets: As for `render_stored`.
    """
    metrics = kind.metrics.METRICS
    weak_by, weakest = content.weakest(evaluation, metrics)
    losses = content.losses(evaluation, metrics)
    template = _environment().from_string(files("tasks.evaluation").joinpath("report.html.j2").read_text("utf-8"))
    return template.render(
        line=line,
        evaluation=evaluation,
        judged=judged,
        headline=HEADLINES[judged.decision] if judged.decision else "Evaluation",
        headlines=HEADLINES,
        marks=_marks(line, kind, evaluation, judged),
        links=links,
        lead=[content.lead(evaluation, metric) for metric in metrics[:2]],
        top_losses=content.top_losses(losses, metrics[:2]),
        losses=losses[: content.LISTED_LOSSES],
        all_losses=len(losses),
        sure_losses=sum(loss.sure for loss in losses),
        weakest=weakest,
        weak_by=weak_by,
        words=kind.words,
        groups=content.groups(evaluation, kind.words),
        confusions=[
            (role, content.confusion(result.confusion))
            for role, result in (("challenger", evaluation.challenger), ("champion", evaluation.champion))
            if result and result.confusion and (role == "challenger" or result.confusion.rows_are != "predicted")
        ],
        cards=cards(evaluation, images or {}, heats or {}),
        main=metrics[0],
        forest=content.forest_plot(line, kind, evaluation),
        overall=content.overall(evaluation, metrics),
        tables=content.slice_tables(evaluation, metrics),
        counts=content.counts(evaluation),
        breakdown=content.breakdown(evaluation),
        plots=content.plots(evaluation, metrics),
        calibration=[
            (metric, value, evaluation.champion_value(metric.name))
            for metric in metrics
            if metric.calibration and (value := evaluation.value(metric.name)) is not None
        ],
        frames=[
            (
                view,
                Markup(base64.b64encode(images[view.frame_oid]).decode()),
                outlines(view.labelled),
                outlines(view.predicted),
            )
            for view in evaluation.challenger.worst
            if images and view.frame_oid in images and not view.whole
        ],
        costs=_costs(evaluation),
        sheets=[sheet for sheet in sheets if not sheet.predicted],
        predicted=[sheet for sheet in sheets if sheet.predicted],
        signed=signed,
        number=content.number,
        place=lambda where: where.replace(".", " ", 1),
    )


def _costs(evaluation: Evaluation) -> list[tuple[str, ModelResult, Latency]]:
    """What running each model cost, device by device, the challenger's before the champion's."""
    both = {"Challenger" if evaluation.champion else "Model": evaluation.challenger, "Champion": evaluation.champion}
    taken = [(role, result, latency) for role, result in both.items() if result for latency in result.latencies]
    devices = list(dict.fromkeys(latency.device for _, _, latency in taken))
    return sorted(taken, key=lambda row: devices.index(row[2].device))


def _marks(line: Line, kind: Kind, evaluation: Evaluation, judged: Judged) -> list[str]:
    """What a reader must not overlook, beside the decision."""
    marks = [f"{sentence[0].upper()}{sentence[1:]}" for sentence in unlearned(evaluation, kind)]
    if evaluation.champion is None and judged.decision is Decision.PROMOTE:
        marks.append("First champion: there was none to compare with, so that only the absolute gates judged")
    elif evaluation.champion is None and judged.decision:
        marks.append("No champion yet: only the absolute gates judged")
    if line.approval.required and judged.decision is Decision.PROMOTE:
        marks.append(f"Takes charge only once a person approves, within {line.approval.timeout_h:g} hours")
    return marks


def _environment() -> Environment:
    found = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    found.filters["short"] = short
    return found


def short(text: str) -> Markup:
    """A name as HTML; a hash in it (of a recording that has no other name, of a file called so) by its first digits.

    Whoever points at it sees the whole.
    """
    shown = _HASH.sub(lambda found: f"{found[0][:_HASH_DIGITS]}…", text)
    return Markup('<span title="{}">{}</span>').format(text, shown) if shown != text else Markup.escape(text)


def _jpeg(data: bytes, area_px2: int = _FRAME_AREA_PX2) -> bytes:
    """A frame small enough to stand in a page; its outlines keep the frame's own pixels.

    Its area is limited, not only its width: six upright frames full of noise must still leave the page under 5 MB.
    """
    import cv2

    return _encoded(np.asarray(cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)), area_px2)


def _encoded(image: Image, area_px2: int) -> bytes:
    import cv2

    height, width = image.shape[:2]
    scale = min(1.0, _FRAME_WIDTH_PX / width, math.sqrt(area_px2 / (width * height)))
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return bytes(encoded)
