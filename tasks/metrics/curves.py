"""The curves of a detector's report: precision and recall, F1 by threshold, reliability. One line for each class.

A class without anything to draw keeps its place with an empty line, and so its colour in every plot.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.metrics.calibration import Binned, reliability
from tasks.metrics.judgement import Curve
from tasks.metrics.matching import Matches


def score_curves(classes: Sequence[str], whole: Sequence[Matches]) -> tuple[Curve, Curve]:
    """Precision by recall (the envelope that AP is taken from), and F1 by score threshold; both at IoU 0.5."""
    levels = np.linspace(0, 1, 101)
    precision: dict[str, tuple[list[float], list[float]]] = {}
    f1: dict[str, tuple[list[float], list[float]]] = {}
    for name, own in zip(classes, whole, strict=True):
        there = int(own.positives.sum())
        precision[name] = f1[name] = ([], [])
        if not there:
            continue
        keep = ~own.ignored[:, 0]
        hits, score = np.cumsum(own.tp[keep, 0]), own.score[keep]
        counted = np.arange(1, len(hits) + 1)
        envelope = np.append(np.maximum.accumulate((hits / counted)[::-1])[::-1], 0.0)
        at = envelope[np.searchsorted(hits / there, levels)]
        precision[name] = (levels.tolist(), [round(float(v), 5) for v in at])
        kept = np.searchsorted(-score, -levels, side="right")  # predictions at or above each score
        curve = 2 * np.append(0, hits)[kept] / (kept + there)
        f1[name] = (levels.tolist(), [round(float(v), 5) for v in curve])
    return (
        Curve("Precision and recall at IoU 0.5", "recall", "precision", precision),
        Curve("F1 by score threshold", "score threshold", "F1", f1),
    )


def reliability_curve(classes: Sequence[str], bins: Sequence[Binned]) -> Curve:
    """The share of right predictions by their mean score."""
    series = {name: reliability(own) for name, own in zip(classes, bins, strict=True)}
    return Curve("Reliability at IoU 0.5", "mean score", "share that is right", series, diagonal=True)
