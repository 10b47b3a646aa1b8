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
DIGITS = 12
"""Decimals of a stored metric."""
SINGLE = ("per_recording", "per_donor")
PARTS = (*SINGLE, "per_study")
"""Families of slices that are parts of the test split, and nothing that a line knows beforehand."""
Statistic = Callable[[NDArray[np.int64]], dict[MetricPath, FloatArray]]
"""Image weights, int64 [R, I], to the value of every metric under each row, float64 [R]; NaN = undefined there."""


@dataclass(frozen=True)
class Metric:
    """One metric of a kind: how gates and reports speak of it.

    Attributes:
        name: As in a line's gates and in the JSON.
        title: As people say it.
        better: Which way is up.
        families: Of slices that it is also measured in, as `Kind.slices` names them.
        paired: Whether it is resampled, so that a difference between two models has an interval.
        unit: Shown behind the number.
        digits: Decimals shown.
        short: As it stands over a table's column; default: the title.
        calibration: Whether it says how far scores are from meaning what they say.
        overall: Whether it is measured over all classes together, too.
        column: Whether tables by slice have a column for it.
    """

    name: str
    title: str
    better: Literal["higher", "lower"] = "higher"
    families: tuple[str, ...] = ("class",)
    paired: bool = True
    unit: str = ""
    digits: int = 3
    short: str = ""
    calibration: bool = False
    overall: bool = True
    column: bool = True

    @property
    def per_class(self) -> bool:
        """Whether it exists for a single class too."""
        return "class" in self.families


COST = (
    Metric("latency_ms_p50", "median latency", "lower", families=(), paired=False, unit="ms", digits=1),
    Metric("latency_ms_p95", "95th percentile latency", "lower", families=(), paired=False, unit="ms", digits=1),
    Metric("model_size_mb", "model size", "lower", families=(), paired=False, unit="MB", digits=1),
)
"""What running a model costs, whatever its kind: the time of one image, and the stored weights in 10^6 bytes."""


@dataclass(frozen=True)
class Curve:
    """Lines of a plot; x and y both run from 0 to 1.

    Attributes:
        series: Name -> x and y of its line.
        diagonal: Whether x = y is drawn, too: where the lines ought to lie.
        chance: Whether x = y is drawn, too: where guessing lies.
        metric: Of each line's slice, to be shown beside its name; '': none.
    """

    title: str
    x_title: str
    y_title: str
    series: dict[str, tuple[list[float], list[float]]]
    diagonal: bool = False
    chance: bool = False
    metric: str = ""


@dataclass(frozen=True)
class Confusion:
    """What was labelled and what was predicted, as int counts.

    Attributes:
        rows, columns: Their names.
        counts: Row by row.
        nothing: Whether the last row and column stand for what was not found and what is not there; else all are
            classes.
        rows_are: 'predicted': columns are what was labelled. 'labelled': columns are what was predicted. 'labels':
            each row is a label that holds or not, and the columns are `OUTCOMES`.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    nothing: bool = True
    rows_are: Literal["predicted", "labelled", "labels"] = "predicted"


OUTCOMES = ("there, found", "there, missed", "not there, left out", "not there, claimed")
"""What becomes of a label that holds, or not, for a picture: the columns of a `Confusion` whose rows are labels."""


@dataclass(frozen=True)
class ErrorKind:
    """One way of being wrong: how often, and what it costs.

    Attributes:
        name: For tables, e.g. 'missed'.
        title: As people say it.
        meaning: What counts as this.
        advice: What to do about it.
        count: How often, among what a user of the model is shown.
        cost: How much the main metric would gain if every error of this kind, and no other, were put right. The costs
            of several kinds do not add up: what one of them spoils, another may spoil too.
    """

    name: str
    title: str
    meaning: str
    advice: str
    count: int
    cost: float


@dataclass(frozen=True)
class Judgement:
    """One model's work on I images of a split.

    Attributes:
        statistic: All resampled metrics under any image weights.
        labels: Class -> labelled objects per image, int64 [I].
        support: Metric address -> labels per image that it rests on, int64 [I].
        slices: Addresses' first two parts -> facts beside the metrics (`labels`), e.g. `("per_size", "small")`.
        facts: Facts about the whole, e.g. the score threshold chosen.
        errors: Pairing per image, float64 [I]; what "worst" means.
        counts: Class -> how many a user of the model counts in each image, int64 [I]; empty where nothing is counted.
        curves, confusion, breakdown: For the report.
        family: Of the slices that classes are: 'class' -> `("per_class", "sperm", ...)`.
        right: Name of a question put to every image -> whether the model answered it rightly: float64 [I] of 1 and 0,
            NaN where nobody knows. Empty where an image is more than one question, as where objects are looked for.
    """

    statistic: Statistic
    labels: dict[str, IntArray]
    support: dict[MetricPath, IntArray]
    errors: FloatArray
    curves: tuple[Curve, ...] = ()
    confusion: Confusion | None = None
    breakdown: tuple[ErrorKind, ...] = ()
    counts: dict[str, IntArray] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    slices: dict[MetricPath, dict[str, Any]] = field(default_factory=dict)
    family: str = "class"
    right: dict[str, FloatArray] = field(default_factory=dict)


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


def address(metric: str, where: str | None = None) -> MetricPath:
    """Where a metric stands in the tree: overall, or in a slice such as 'class.sperm' or 'size.small'."""
    if where is None:
        return (metric,)
    family, _, name = where.partition(".")
    return (f"per_{family}", name, metric)


def metric_of_slices(metrics: Iterable[Metric], values: Mapping[str, Any]) -> Metric:
    """The first metric that a tree has for slices beside recordings and donors; else the first of all."""
    listed = list(metrics)
    families = [rows for key, rows in values.items() if key.startswith("per_") and key not in PARTS]
    slices = [own for rows in families for own in rows.values()]
    return next((metric for metric in listed if any(metric.name in own for own in slices)), listed[0])


def measured(judgement: Judgement, images: int) -> dict[str, Any]:
    """The metrics tree of the images as they are, with the judgement's facts beside the numbers."""
    everything = np.ones((1, images), dtype=np.int64)
    values = judgement.statistic(everything)
    flat: dict[MetricPath, Any] = {path: _number(value[0]) for path, value in values.items()}
    flat |= {(name,): value for name, value in judgement.facts.items()}
    flat |= _labels_and_counts(judgement, everything[0])
    flat |= {(*path, name): value for path, facts in judgement.slices.items() for name, value in facts.items()}
    return tree(flat)


def parts_of(values: Mapping[str, Any] | None) -> dict[str, Any]:
    """The metrics of each recording, or donor, of a metrics tree."""
    return next((dict(values[family]) for family in SINGLE if values and family in values), {})


def measured_by(judgement: Judgement, names: list[str], index: IntArray) -> dict[str, dict[str, Any]]:
    """Overall and per-class metrics of each part of the images, such as each recording.

    Args:
        judgement: Of all images.
        names: One for each part.
        index: int64 [I], which part each image belongs to; -1: to none.
    """
    if not names:
        return {}
    weights = (np.arange(len(names))[:, None] == index).astype(np.int64)
    values = judgement.statistic(weights)
    out: dict[str, dict[str, Any]] = {}
    for row, name in enumerate(names):
        flat: dict[MetricPath, Any] = {
            path: _number(value[row])
            for path, value in values.items()
            if len(path) == 1 or path[0] == f"per_{judgement.family}"
        }
        flat |= {("images",): int(weights[row].sum()), **_labels_and_counts(judgement, weights[row])}
        out[name] = tree(flat)
    return out


def _number(value: float) -> float:
    """Without the last digits, in which two processors may differ: whoever measures again must find the same."""
    return round(float(value), DIGITS)


def _labels_and_counts(judgement: Judgement, weights: IntArray) -> dict[MetricPath, Any]:
    """Labelled objects, and per frame what was labelled, what was counted, and how far the count is off on average."""
    flat: dict[MetricPath, Any] = {("labels",): sum(int(own @ weights) for own in judgement.labels.values())}
    flat |= {(f"per_{judgement.family}", name, "labels"): int(own @ weights) for name, own in judgement.labels.items()}
    frames = max(1, int(weights.sum()))
    for name, predicted in judgement.counts.items():
        there, seen = int(judgement.labels[name] @ weights), int(predicted @ weights)
        per_frame = {"labelled": there / frames, "predicted": seen / frames, "bias": (seen - there) / frames}
        flat |= {("count_per_frame", name, what): _number(value) for what, value in per_frame.items()}
    return flat
