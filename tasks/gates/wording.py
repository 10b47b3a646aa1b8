"""How gates put numbers and places into words."""

from __future__ import annotations

from tasks.config import Gate
from tasks.evaluation.evaluation import Evaluation
from tasks.evaluation.wording import listed as listed
from tasks.metrics.judgement import Metric

_CLOSE_CALL_DIGITS = 9


def name_of(metric: Metric, where: str | None) -> str:
    """'AP50', 'AP50 of sperm', 'AP50 in size small': the start of a sentence."""
    title = metric.title[0].upper() + metric.title[1:]
    if where is None:
        return title
    family, _, name = where.partition(".")
    return f"{title} of {name}" if family == "class" else f"{title} in {family} {name}"


def place(where: str) -> str:
    """A slice among others: 'class sperm'."""
    return where.replace(".", " ", 1)


def number(metric: Metric, value: float, digits: int | None = None) -> str:
    """A value with its unit."""
    text = f"{value:.{metric.digits if digits is None else digits}f}"
    return f"{text} {metric.unit}" if metric.unit else text


def apart(metric: Metric, value: float, limit: float) -> str:
    """A value with as many digits as it takes to see on which side of the limit it lies."""
    for digits in range(metric.digits, _CLOSE_CALL_DIGITS):
        if f"{value:.{digits}f}" != f"{limit:.{digits}f}" or value == limit:
            break
    return number(metric, value, digits)


def compared(metric: Metric, difference: float, value: float | None, champion: float | None) -> str:
    """'0.510 against the champion's 0.500 (+0.010)'."""
    unit = f" {metric.unit}" if metric.unit else ""
    signed = f"{difference:+.{metric.digits}f}{unit}"
    return f"{number(metric, value or 0.0)} against the champion's {number(metric, champion or 0.0)} ({signed})"


def allowed(gate: Gate, metric: Metric) -> str:
    """What a comparing gate asks for."""
    if gate.condition == "not_worse_by":
        return f"{number(metric, gate.threshold)} worse is allowed"
    return f"more than {number(metric, gate.threshold)} better is required" if gate.threshold else "better is required"


def noun(evaluation: Evaluation, count: int) -> str:
    """What the clusters are: donors, recordings, or single pictures."""
    name = evaluation.cluster_noun
    return name if count == 1 else f"{name}s"


def roughly(count: int) -> str:
    """A number of recordings that is only a guess: '7', '25', '140'."""
    step = 1 if count < 10 else 5 if count < 100 else 10
    return str(-(-count // step) * step)
