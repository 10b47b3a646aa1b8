"""What `predict` and `serve` give of a classifier's probabilities: one row for each picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.config import Line
from tasks.kind import ModelRef, Row

_PRESENT_FROM = 0.5


def columns(line: Line) -> tuple[str, ...]:
    """The class (of several labels: those that are there, '; ' between them), its probability, and every class's."""
    return ("label", *(() if line.multi_label else ("score",)), *(f"p_{name}" for name in line.classes))


def rows(output: Any, model: ModelRef, line: Line, min_score: float | None) -> list[Row]:
    """One row: the predicted class, and the probability of each class of the line.

    Args:
        output: Floats [classes] in the model's order.
        model: Names its classes; one that the line lacks is left out, one that the model lacks has no probability.
        line: Single class: the most probable one is the prediction. Multi-label: every one that is probable enough.
        min_score: From which probability on a label is there (multi-label); below which no class is named (else).
    """
    names = [line.class_named(name) for name in model.classes]
    values = np.asarray(output, dtype=np.float64).reshape(-1).tolist()
    known: dict[str, float] = {}
    for name, value in zip(names, values, strict=True):
        if name is not None:  # two of the model's classes may be one of the line
            before = known.get(name, 0.0)
            known[name] = round(max(before, value) if line.multi_label else min(1.0, before + value), 6)
    each = {f"p_{name}": known.get(name) for name in line.classes}
    if line.multi_label:
        chosen = (min_score, line.evaluation.score_threshold, _PRESENT_FROM)
        least = next(value for value in chosen if value is not None)
        return [{"label": "; ".join(name for name in line.classes if known.get(name, 0.0) >= least), **each}]
    best = max(known, key=lambda name: known[name], default="")
    score = known.get(best)
    sure = score is not None and score >= (min_score or 0.0)
    return [{"label": best if sure else "", "score": score, **each}]
