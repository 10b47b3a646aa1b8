"""Classes that a model claims and has learned nothing of: said first, wherever a model is spoken of.

"Nothing" is what was measured on the test split: the kind's metric for it (AP50 for detection, MCC for classification)
of the class lies below what the kind calls nothing, or the whole interval around it does; or the model found not one of
the class's labels; or the test split holds no label of the class, or nothing without it, so that nobody knows. Which of
these it is stands in the sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tasks.evaluation.evaluation import Evaluation
from tasks.kind import Kind
from tasks.metrics.judgement import Metric, address, find

ADVICE = "label more of it, take it out of the line's classes, or put the model in charge by a recorded override"


def unlearned(evaluation: Evaluation, kind: Kind) -> tuple[str, ...]:
    """A sentence without a full stop for each class of the line that the challenger has learned nothing of."""
    return unlearned_of(evaluation.classes, kind, evaluation.metrics, evaluation.challenger.intervals)


def unlearned_of(
    classes: Iterable[str], kind: Kind, metrics: Mapping[str, Any], intervals: Mapping[str, Any]
) -> tuple[str, ...]:
    """The same of a metrics tree, e.g. a verdict's.

    Args:
        classes: That the line claims.
        kind: Which has the metric that shows whether anything was learned.
        metrics, intervals: As an evaluation has them.
    """
    said = (_sentence(name, kind.learned_by, kind.metrics.NOTHING, metrics, intervals) for name in classes)
    return tuple(sentence for sentence in said if sentence)


def _sentence(
    name: str, metric: Metric, nothing: float, metrics: Mapping[str, Any], intervals: Mapping[str, Any]
) -> str | None:
    where = f"label.{name}" if "per_label" in metrics else f"class.{name}"
    known = find(metrics, address("labels", where))
    if known is None:  # whoever measured did not look at this class: nothing can be said of it
        return None
    labels, interval = int(known), find(intervals, address(metric.name, where)) or {}
    on = f"on {labels} label{'' if labels == 1 else 's'}"
    if not labels:
        return f"nothing is known of {name}: the test split holds no label of it"
    if why := find(metrics, address("unknowable", where)):
        return f"nothing is known of {name}: {why}"
    if metric.name not in find(metrics, address(metric.name, where)[:-1]):
        return None
    value = find(metrics, address(metric.name, where))
    if value is None:
        return f"learned nothing of {name}: found none {on}"
    if value < nothing:
        return f"learned nothing of {name}: {metric.title} {value:.3f} {on}"
    if (high := interval.get("high")) is not None and high < nothing:
        return f"learned nothing of {name}: {metric.title} {value:.3f} {on}, at most {high:.3f}"
    return None
