"""Where in the test split a model is worse than on the whole: by class, size, density of objects, study, recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasks.experiments.diagnosis.findings import Slice
from tasks.metrics.judgement import Judgement, Metric, measured_by

LEAST_LABELS = 20
"""A slice of fewer says nothing; a class is shown whatever it has."""
_PARTS = 3


def slices_of(metrics: Sequence[Metric], tree: Mapping[str, Any], judgement: Judgement) -> tuple[Slice, ...]:
    """Every slice with labels enough, the lowest first.

    Args:
        metrics: The kind's; of each family the first that it is measured by counts.
        tree: The evaluation's metrics.
        judgement: Of the same predictions, for slices that the evaluation does not have.
    """
    families = {key: rows for key, rows in tree.items() if key.startswith("per_")}
    density = by_density(judgement)
    if density:
        families["per_density"] = density
    found = []
    for key, rows in families.items():
        metric = next((each for each in metrics if any(each.name in own for own in rows.values())), None)
        if metric is None or metric.better != "higher" or tree.get(metric.name) is None:
            continue
        least = 1 if key in ("per_class", "per_label") else LEAST_LABELS
        every = sum(int(own.get("labels") or 0) for own in rows.values())
        for name, own in rows.items():
            labels, value = int(own.get("labels") or 0), own.get(metric.name)
            if value is None or labels < least:
                continue
            found.append(
                Slice(
                    family=key.removeprefix("per_"),
                    name=name,
                    about=str(own.get("about") or ""),
                    metric=metric.name,
                    value=float(value),
                    overall=float(tree[metric.name]),
                    labels=labels,
                    share=labels / every,
                )
            )
    return tuple(sorted(found, key=lambda one: (one.value - one.overall, one.family, one.name)))


def by_density(judgement: Judgement) -> dict[str, dict[str, Any]]:
    """Metrics of the thirds of images with few, more and most labelled objects; empty where all have as many.

    Images without any object are left out: nothing is to be found there.
    """
    counts = np.sum(list(judgement.labels.values()), axis=0)
    there = counts > 0
    if not there.any() or counts.max() <= 1:
        return {}
    edges = np.unique(np.quantile(counts[there], np.arange(1, _PARTS) / _PARTS, method="lower"))
    part = np.where(there, np.searchsorted(edges, counts, side="left"), -1)
    numbers = [number for number in range(len(edges) + 1) if (part == number).any()]
    if len(numbers) < 2:
        return {}
    names = []
    for number in numbers:
        low, high = int(counts[part == number].min()), int(counts[part == number].max())
        names.append(f"{low} to {high} objects an image" if low < high else f"{low} objects an image")
    places = {number: place for place, number in enumerate(numbers)}
    return measured_by(judgement, names, np.array([places.get(int(each), -1) for each in part], dtype=np.int64))
