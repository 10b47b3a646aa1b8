"""Evaluations and lines made by hand, for gates to judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.config import Line, parse_line
from tasks.evaluation.evaluation import Difference, Evaluation, Latency, ModelResult
from tasks.kind import ModelRef
from tasks.metrics.judgement import MetricPath, address, find, tree

OID = "ab" * 32
SLICES = ("class.sperm", "class.impurity", "size.small", "size.medium", "size.large")
EIGHT = tuple(f"recording:{letter}" for letter in "abcdefgh")


def line_with(*gates: dict[str, Any], **rest: Any) -> Line:
    """A detection line with these gates."""
    return parse_line(
        {
            "line": "sperm-detector",
            "kind": "detection",
            "classes": ["sperm", "impurity"],
            "recipe": {"name": "any"},
            "gates": list(gates),
            **rest,
        },
        "test",
    )


def latency(device: str, p95: float) -> Latency:
    """A timing."""
    return Latency(device=device, hardware="some chip", images=30, latency_ms_p50=p95 / 2, latency_ms_p95=p95)


def result(
    values: dict[MetricPath, float | None], latencies: Sequence[Latency], labels: int, empty: Sequence[str]
) -> ModelResult:
    """A model's result with only these metrics; `empty` slices have no labels."""
    facts = {address("labels", where): 0 if where in empty else labels for where in (None, *SLICES)}
    return ModelResult(
        model=ModelRef(model_version="7", weights_oid=OID, classes=("sperm", "impurity")),
        metrics=tree({**values, **facts}),
        intervals={},
        predictions_oid=OID,
        latencies=tuple(latencies),
    )


def evaluation_of(
    challenger: dict[MetricPath, float | None],
    champion: dict[MetricPath, float | None] | None = None,
    draws: dict[MetricPath, Sequence[float]] | None = None,
    *,
    clusters: Sequence[str] = EIGHT,
    carrying: int | dict[MetricPath, int] | None = None,
    latencies: Sequence[Latency] = (),
    labels: int = 100,
    empty: Sequence[str] = ("class.impurity",),
) -> Evaluation:
    """An evaluation in which the difference of each metric had these bootstrap draws."""
    mine = result(challenger, latencies, labels, empty)
    theirs = None if champion is None else result(champion, latencies, labels, empty)
    carried = carrying if isinstance(carrying, dict) else {}
    usual = carrying if isinstance(carrying, int) else len(clusters)
    differences = [
        Difference(
            path=path,
            value=_minus(find(mine.metrics, path), find(theirs.metrics, path)),
            clusters=carried.get(path, usual),
            draws=tuple(values),
        )
        for path, values in (draws or {}).items()
        if theirs
    ]
    return Evaluation(
        line="sperm-detector", kind="detection", classes=("sperm", "impurity"), dataset_version=OID, images=30,
        recordings=tuple(clusters), clusters=tuple(clusters), device="cpu", confidence=0.95, resamples=100, seed=0,
        challenger=mine, champion=theirs, differences=tuple(differences),
    )  # fmt: skip


def _minus(mine: float | None, theirs: float | None) -> float | None:
    return None if mine is None or theirs is None else mine - theirs
