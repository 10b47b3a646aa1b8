"""The tables of `bench_detectors`: metrics of kept predictions over folds and seeds, with their intervals."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.metrics.bootstrap import interval, paired_bootstrap
from tasks.metrics.boxes import Boxes
from tasks.metrics.detection import judge
from tasks.metrics.judgement import FloatArray, MetricPath, Statistic
from tests.bench.detector_sets import BoxedSet, boxes_of

METRICS = ("AP50", "AP50_95")
RESAMPLES = 2000
Line = dict[str, Any]
Runs = Mapping[tuple[str, int, int], Line]
"""(variant, seed, fold) -> its measurement."""


def predictions_of(out: Path, key: str) -> Path:
    """Where the predictions of a measurement lie."""
    return out.with_suffix(".predictions") / f"{key}.json"


def read_predictions(out: Path, key: str) -> list[FloatArray]:
    """What a measurement found: for each test picture x1, y1, x2, y2, score, class: float64 [n, 6]."""
    found = json.loads(predictions_of(out, key).read_text())
    return [np.asarray(each, np.float64).reshape(-1, 6) for each in found]


def statistic_of(out: Path, line: Line, boxed: BoxedSet, test: Sequence[int]) -> Statistic:
    """A model's metrics of its fold, by weights of the fold's pictures."""
    rows = read_predictions(out, line["key"])
    flat = np.concatenate(rows)
    image = np.repeat(np.arange(len(rows)), [len(each) for each in rows])
    sides = np.concatenate([flat[:, :2], flat[:, 2:4] - flat[:, :2]], axis=1)
    predictions = Boxes.of(image, flat[:, 5].astype(np.int64), sides, score=flat[:, 4])
    return judge(predictions, boxes_of(boxed, test), classes=boxed.classes, images=len(test)).statistic


def over_folds(asked: argparse.Namespace, boxed: BoxedSet, folds: Sequence[int], variant: str, runs: Runs) -> Statistic:
    """A variant's metrics as the mean of folds and seeds, by weights of all the folds' pictures in their order."""
    edges = np.cumsum([0, *(len(boxed.folds[fold]) for fold in folds)])
    parts = [
        (edges[n], edges[n + 1], statistic_of(asked.out, runs[variant, seed, fold], boxed, boxed.folds[fold]))
        for n, fold in enumerate(folds) for seed in asked.seeds
    ]  # fmt: skip

    def statistic(weights: NDArray[np.int64]) -> dict[MetricPath, FloatArray]:
        sums: dict[MetricPath, FloatArray] = {}
        counts: dict[MetricPath, FloatArray] = {}
        for low, high, of in parts:
            drawn = weights[:, low:high].sum(axis=1) / (high - low)
            for path, value in of(weights[:, low:high]).items():
                known = ~np.isnan(value) & (drawn > 0)
                sums[path] = sums.get(path, 0.0) + np.where(known, value * drawn, 0.0)
                counts[path] = counts.get(path, 0.0) + np.where(known, drawn, 0.0)
        with np.errstate(invalid="ignore"):
            return {path: total / counts[path] for path, total in sums.items()}

    return statistic


def show(asked: argparse.Namespace, boxed: BoxedSet, folds: Sequence[int], runs: Runs) -> None:
    """Two tables: each variant's metrics, and what it brings over the first one."""
    groups = [boxed.pictures[place].group for fold in folds for place in boxed.folds[fold]]
    cluster = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    statistics = {variant: over_folds(asked, boxed, folds, variant, runs) for variant in asked.variants}
    drawn = paired_bootstrap(statistics, cluster, resamples=RESAMPLES, seed=0)
    once = {name: of(np.ones((1, len(groups)), dtype=np.int64)) for name, of in statistics.items()}
    wanted: list[MetricPath] = [(name,) for name in METRICS]
    wanted += [("per_class", label, name) for label in boxed.classes for name in METRICS]
    clusters, first = int(cluster.max()) + 1, asked.variants[0]
    print(f"\n{len(folds)} folds, seeds {asked.seeds}, {asked.cpu_seconds:.0f} CPU s each, {clusters} groups")
    for variant in asked.variants:
        own = [line for (name, _, _), line in runs.items() if name == variant]
        print(f"\n{variant}  ({np.mean([line['cpu_s'] for line in own]):.0f} CPU s, epochs {own[0]['epochs']})")
        apart = drawn.differences(variant, first) if drawn and variant != first else {}
        for path in wanted:
            draws = drawn.values[variant][path] if drawn else None
            text = f"  {' '.join(path):32}{_text(once[variant][path][0], draws, clusters)}"
            if path in apart:
                text += "   more: " + _text(once[variant][path][0] - once[first][path][0], apart[path], clusters)
            print(text)


def _text(value: float, draws: FloatArray | None, clusters: int) -> str:
    span = interval(draws, 0.95, clusters) if draws is not None else None
    known = span is not None and span.low is not None and span.high is not None
    return f"{value:.3f}" + (f" [{span.low:.3f}, {span.high:.3f}]" if known and span else " [-, -]")
