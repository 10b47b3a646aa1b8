"""What every kind of line says of a model, in one shape: the statistics, gates and report see nothing else.

A metric has an address in a tree: `("AP50",)` overall, `("per_class", "sperm", "AP50")` for a class,
`("per_size", "small", "AP50")` for any other slice a kind cares to make.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
MetricPath = tuple[str, ...]
Statistic = Callable[[NDArray[np.int64]], dict[MetricPath, FloatArray]]
"""Image weights, int64 [R, I], to the value of every metric under each row, float64 [R]; NaN = undefined there."""


@dataclass(frozen=True)
class Metric:
    """One metric of a kind: how gates and reports speak of it.

    Attributes:
        name: As in a line's gates and in the JSON.
        title: As people say it.
        better: Which way is up.
        per_class: Whether it exists for a single class too.
        paired: Whether it is resampled, so that a difference between two models has an interval.
        unit: Shown behind the number.
        digits: Decimals shown.
    """

    name: str
    title: str
    better: Literal["higher", "lower"] = "higher"
    per_class: bool = True
    paired: bool = True
    unit: str = ""
    digits: int = 3


LATENCY = (
    Metric("latency_ms_p50", "median latency", "lower", per_class=False, paired=False, unit="ms", digits=1),
    Metric("latency_ms_p95", "95th percentile latency", "lower", per_class=False, paired=False, unit="ms", digits=1),
)
"""What every kind is timed by, one image at a time."""


@dataclass(frozen=True)
class Curve:
    """Lines of a plot; x and y both run from 0 to 1."""

    title: str
    x_title: str
    y_title: str
    series: dict[str, tuple[list[float], list[float]]]


@dataclass(frozen=True)
class Confusion:
    """What was labelled (columns) and what was predicted (rows): int [n, n] counts; the last of each is "nothing"."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Judgement:
    """One model's work on I images of a split.

    Attributes:
        statistic: All resampled metrics under any image weights.
        labels: Class -> labelled objects per image, int64 [I].
        support: Metric address -> labels per image that it rests on, int64 [I].
        slices: Addresses' first two parts -> facts beside the metrics (`labels`), e.g. `("per_size", "small")`.
        facts: Facts about the whole, e.g. the score threshold chosen.
        errors: Mistakes per image, float64 [I]; what "worst" means.
        curves, confusion: For the report.
    """

    statistic: Statistic
    labels: dict[str, IntArray]
    support: dict[MetricPath, IntArray]
    errors: FloatArray
    curves: tuple[Curve, ...] = ()
    confusion: Confusion | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    slices: dict[MetricPath, dict[str, Any]] = field(default_factory=dict)


def tree(values: Mapping[MetricPath, Any]) -> dict[str, Any]:
    """Addresses and values as nested dicts; NaN becomes None."""
    out: dict[str, Any] = {}
    for path, value in values.items():
        node = out
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = None if isinstance(value, float) and math.isnan(value) else value
    return out


def find(values: Mapping[str, Any] | None, path: Iterable[str]) -> Any:
    """The value at an address of a metrics tree; None where there is none."""
    node: Any = values
    for part in path:
        if not isinstance(node, Mapping):
            return None
        node = node.get(part)
    return node


def address(metric: str, class_: str | None = None) -> MetricPath:
    """Where a metric stands in the tree, overall or of one class."""
    return ("per_class", class_, metric) if class_ else (metric,)


def measured(judgement: Judgement, images: int) -> dict[str, Any]:
    """The metrics tree of the images as they are, with the judgement's facts beside the numbers."""
    values = judgement.statistic(np.ones((1, images), dtype=np.int64))
    flat: dict[MetricPath, Any] = {path: float(value[0]) for path, value in values.items()}
    flat |= {(name,): value for name, value in judgement.facts.items()}
    flat |= {("labels",): sum(int(count.sum()) for count in judgement.labels.values())}
    flat |= {("per_class", name, "labels"): int(count.sum()) for name, count in judgement.labels.items()}
    flat |= {(*path, name): value for path, facts in judgement.slices.items() for name, value in facts.items()}
    return tree(flat)


def measured_by(judgement: Judgement, names: list[str], index: IntArray) -> dict[str, dict[str, Any]]:
    """Overall and per-class metrics of each part of the images, such as each recording.

    Args:
        judgement: Of all images.
        names: One for each part.
        index: int64 [I], which part each image belongs to.
    """
    weights = (np.arange(len(names))[:, None] == index).astype(np.int64)
    values = judgement.statistic(weights)
    out: dict[str, dict[str, Any]] = {}
    for row, name in enumerate(names):
        flat: dict[MetricPath, Any] = {
            path: float(value[row]) for path, value in values.items() if len(path) == 1 or path[0] == "per_class"
        }
        own = {cls: int(count @ weights[row]) for cls, count in judgement.labels.items()}
        flat |= {("per_class", cls, "labels"): count for cls, count in own.items()}
        flat |= {("labels",): sum(own.values()), ("images",): int(weights[row].sum())}
        out[name] = tree(flat)
    return out
