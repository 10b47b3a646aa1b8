"""What `predict` and `serve` give of a picture's cells: a row for each, with what a lab measures of it in pixels."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from tasks.config import Line
from tasks.kind import ModelRef, Row
from tasks.kinds.segmentation.instances import Instances
from tasks.metrics import masks
from tasks.metrics.segmentation_outlines import pixels_of

_SHOWN_FROM = 0.5
"""Where neither the line, nor the model's recipe, nor the model says which scores a user is shown."""
_PLACES = ("x_px", "y_px", "width_px", "height_px")


def columns(line: Line) -> tuple[str, ...]:
    """The cell's number, class and score, its box, its size, its middle, and its mask.

    `mask_rle` is COCO's run lengths as JSON ({"size": [height, width], "counts": ...}), of the whole picture:
    `pycocotools.mask.decode(json.loads(...))` gives its pixels. Lengths are pixels: a picture file has no calibration.
    """
    return (
        "cell", "label", "score", *_PLACES, "area_px", "centroid_x_px", "centroid_y_px", "equivalent_diameter_px",
        "mask_rle",
    )  # fmt: skip


def rows(output: Any, model: ModelRef, line: Line, min_score: float | None) -> list[Row]:
    """A row for each cell whose score is high enough, best first, numbered from 1; foreign classes are left out.

    Args:
        output: `Instances` of the picture; where nobody else says, they say from which score on the model shows cells.
        model: Its options say from which score on it shows cells (`predict: {min_score: ...}`).
        line: Whose classes count; its `score_threshold` comes first.
        min_score: In [0, 1].
    """
    found: Instances = output
    least = score_shown_from(model, line, min_score, found.shown_from)
    names = [line.class_named(name) for name in model.classes]
    out: list[Row] = []
    for place in np.argsort(-found.scores, kind="stable").tolist():
        label, score = names[int(found.labels[place])], float(found.scores[place])
        if label is not None and score >= least and (measures := _measured(found, place)):
            out.append({"cell": len(out) + 1, "label": label, "score": round(score, 6), **measures})
    return out


def score_shown_from(model: ModelRef, line: Line, min_score: float | None, of_weights: float | None) -> float:
    """From which score on a user is shown a cell.

    Args:
        model, line, min_score: As for `rows`.
        of_weights: The model's own threshold.
    """
    of_model = model.options.get("predict", {}).get("min_score") or None  # 0: the recipe does not say
    chosen = (min_score, line.evaluation.score_threshold, of_model, of_weights, _SHOWN_FROM)
    return float(next(value for value in chosen if value is not None))


def _measured(found: Instances, place: int) -> Row:
    """What is measured of one cell; nothing where it has no pixel. Pixels' middles are whole numbers, from 0."""
    text = found.masks[place]
    y, x = pixels_of(text, found.height_px)
    if not len(x):
        return {}
    (box,) = masks.boxes([masks.as_coco(text, found.height_px, found.width_px)]).tolist()
    return {
        **dict(zip(_PLACES, box, strict=True)),
        "area_px": len(x),
        "centroid_x_px": round(float(x.mean()), 2),
        "centroid_y_px": round(float(y.mean()), 2),
        "equivalent_diameter_px": round(2 * math.sqrt(len(x) / math.pi), 2),
        "mask_rle": json.dumps({"size": [found.height_px, found.width_px], "counts": text}),
    }
