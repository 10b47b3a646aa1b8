"""The curves of a classifier's report: ROC, precision and recall, reliability. One line for each class.

A class without anything to draw keeps its place with an empty line, and so its colour in every plot.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tasks.metrics.calibration import Binned, reliability
from tasks.metrics.classification_ranking import Ranking
from tasks.metrics.judgement import Curve

FloatArray = NDArray[np.float64]
Line = tuple[list[float], list[float]]
MOST_POINTS = 200
"""Of a line: more cannot be seen."""


def roc(rankings: Mapping[str, Ranking]) -> Curve:
    """The share of pictures with the class that a threshold finds, by the share of the others that it takes for it."""
    series: dict[str, Line] = {}
    for name, own in rankings.items():
        found, wrong = _at_each_threshold(own)
        series[name] = ([], [])
        if found[-1] and wrong[-1]:
            series[name] = _thinned(wrong / wrong[-1], found / found[-1])
    return Curve("ROC, each against the rest", "false positive rate", "true positive rate", series,
                 chance=True, metric="ROC_AUC")  # fmt: skip


def precision_recall(rankings: Mapping[str, Ranking]) -> Curve:
    """Precision by recall as they are at each threshold, not interpolated."""
    series: dict[str, Line] = {}
    for name, own in rankings.items():
        found, wrong = (part[1:] for part in _at_each_threshold(own))
        series[name] = ([], [])
        if len(found) and found[-1]:
            recall, precision = found / found[-1], found / (found + wrong)
            series[name] = _thinned(np.append(0.0, recall), np.append(precision[0], precision))
    return Curve("Precision and recall, each against the rest", "recall", "precision", series, metric="PR_AUC")


def reliability_curve(bins: Mapping[str, Binned]) -> Curve:
    """The share of pictures that a prediction is true of, by its mean score."""
    series = {name: reliability(own) for name, own in bins.items()}
    return Curve("Reliability", "mean score", "share that is right", series, diagonal=True)


def _at_each_threshold(own: Ranking) -> tuple[FloatArray, FloatArray]:
    """True and false positives at falling thresholds, from none of the pictures to all: float64 [T] each."""
    falling = own.positive[::-1]
    # A threshold cannot part equal scores. Where two positives are equal their bounds are; where a positive and a
    # negative are equal both lie within a positive's bounds. Negatives alone make horizontal steps, ties or not.
    inside = np.zeros(len(falling) + 1, dtype=bool)
    for low, high in zip(own.first, own.last, strict=True):
        inside[low + 1 : high] = True
    ends = ~inside[::-1]
    found = np.append(0, np.cumsum(falling))[ends].astype(np.float64)
    wrong = np.append(0, np.cumsum(~falling))[ends].astype(np.float64)
    return found, wrong


def _thinned(x: FloatArray, y: FloatArray) -> Line:
    """A line without points that lie on the straight between their neighbours, and with no more than can be seen."""
    turn = np.ones(len(x), dtype=bool)
    turn[1:-1] = ~(((x[1:-1] == x[:-2]) & (x[1:-1] == x[2:])) | ((y[1:-1] == y[:-2]) & (y[1:-1] == y[2:])))
    x, y = x[turn], y[turn]
    if len(x) > MOST_POINTS:
        keep = np.unique(np.linspace(0, len(x) - 1, MOST_POINTS).round().astype(np.intp))
        x, y = x[keep], y[keep]
    return [round(float(v), 5) for v in x], [round(float(v), 5) for v in y]
