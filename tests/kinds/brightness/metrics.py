"""Accuracy, and recall of each class."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.config import Line
from tasks.kind import Row
from tasks.metrics.judgement import COST, Confusion, FloatArray, IntArray, Judgement, Metric, MetricPath

if TYPE_CHECKING:
    import pyarrow as pa

METRICS = (Metric("accuracy", "accuracy"), Metric("balanced_accuracy", "balanced accuracy", families=()), *COST)
NOTHING = 0.05


def slices(line: Line) -> dict[str, tuple[str, ...]]:
    """Classes."""
    return {"class": tuple(line.classes)}


def tabulate(outputs: Sequence[Any], frames: Sequence[Row], model_classes: Sequence[str], line: Line) -> pa.Table:
    """A row for each frame."""
    import pyarrow as pa

    bright = np.asarray(outputs, dtype=np.float64)
    return pa.table(
        {
            "frame_oid": [row["frame_oid"] for row in frames],
            "label": [model_classes[int(score >= 0.5)] for score in bright],
            "score": np.maximum(bright, 1 - bright),
        }
    )


def labels_of(frames: Sequence[Row]) -> list[str]:
    """The class of each frame."""
    return [json.loads(row["objects"])[0]["label"] for row in frames]


def judge(predictions: pa.Table, frames: Sequence[Row], line: Line) -> Judgement:
    """Right or wrong, frame by frame."""
    classes = tuple(line.classes)
    there, said = labels_of(frames), predictions.column("label").to_pylist()
    right = np.array([one == other for one, other in zip(there, said, strict=True)], dtype=np.int64)
    of_class = {name: np.array([one == name for one in there], dtype=np.int64) for name in classes}

    def statistic(weights: IntArray) -> dict[MetricPath, FloatArray]:
        recalls = {name: _share(weights @ (right * own), weights @ own) for name, own in of_class.items()}
        out: dict[MetricPath, FloatArray] = {("accuracy",): _share(weights @ right, weights.sum(axis=1))}
        out |= {("per_class", name, "accuracy"): value for name, value in recalls.items()}
        out[("balanced_accuracy",)] = np.mean(list(recalls.values()), axis=0)
        return out

    every = np.ones(len(frames), dtype=np.int64)
    counts = tuple(
        tuple(sum(s == row and t == column for s, t in zip(said, there, strict=True)) for column in classes)
        for row in classes
    )
    return Judgement(
        statistic=statistic,
        labels=of_class,
        support={("accuracy",): every, ("balanced_accuracy",): every}
        | {("per_class", name, "accuracy"): own for name, own in of_class.items()},
        errors=(1 - right).astype(np.float64),
        confusion=Confusion(classes, classes, counts, nothing=False),
    )


def _share(part: IntArray, whole: IntArray) -> FloatArray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
