"""What `predict` and `serve` give of a detector's boxes: a row for each."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.config import Line
from tasks.kind import ModelRef, Row

_SHOWN_FROM = 0.25
"""Where neither the line nor the model's recipe says which scores a user is shown."""
_PLACES = ("x_px", "y_px", "width_px", "height_px")


def columns(line: Line) -> tuple[str, ...]:
    """The class, the score, the top left corner and the size."""
    return ("label", "score", *_PLACES)


def rows(output: Any, model: ModelRef, line: Line, min_score: float | None) -> list[Row]:
    """A row for each box whose score is high enough, best first; boxes of classes that the line lacks are left out.

    Args:
        output: Floats [n, 6]: x1, y1, x2, y2 in pixels, score, the model's class index.
        model: Its options say from which score on it shows boxes.
        line: Whose classes count; its `score_threshold` comes first.
        min_score: In [0, 1].
    """
    least = score_shown_from(model, line, min_score)
    found = []
    for x1, y1, x2, y2, score, index in np.asarray(output, dtype=np.float64).reshape(-1, 6).tolist():
        label = line.class_named(model.classes[int(index)])
        if label is not None and score >= least:
            place = dict(zip(_PLACES, (round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)), strict=True))
            found.append({"label": label, "score": round(score, 6), **place})
    return sorted(found, key=lambda row: -row["score"])


def score_shown_from(model: ModelRef, line: Line, min_score: float | None) -> float:
    """From which score on a user is shown a box; arguments as for `rows`."""
    chosen = (min_score, line.evaluation.score_threshold, model.options.get("predict", {}).get("conf"), _SHOWN_FROM)
    return float(next(value for value in chosen if value is not None))
