"""From predictions to an evaluation: everything that can be computed again from what is stored, and nothing else.

Given the manifest's frames, the line, and for each model its stored predictions and what running it cost, the result
follows; so a stranger with the lake can check every number of a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.config import Line
from tasks.evaluation.evaluation import Difference, Evaluation, Latency, ModelResult, PairedTest, Plot, Table
from tasks.kind import FrameView, Kind, ModelRef
from tasks.metrics.bootstrap import Resamples, interval, paired_bootstrap, supporting_clusters
from tasks.metrics.judgement import (
    DIGITS,
    FloatArray,
    IntArray,
    Judgement,
    MetricPath,
    find,
    measured,
    measured_by,
    tree,
)
from tasks.metrics.mcnemar import mcnemar
from tasks.schemas import Oid

if TYPE_CHECKING:
    import pyarrow as pa

FEW_RECORDINGS = 30
"""So many are measured one by one even where each is a single frame."""
DRAW_DIGITS = 9
"""Decimals of a resampled value: far below what a metric can tell, far above what two processors may differ in."""

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Run:
    """One model's work on the test split, as it is stored.

    Attributes:
        model: Which one.
        predictions: Rows as its kind tabulates them.
        predictions_oid: The blob that holds them.
        latencies: The first is that of the device it ran on by itself.
        size_mb: Of its stored weights, in 10^6 bytes.
    """

    model: ModelRef
    predictions: pa.Table
    predictions_oid: Oid
    latencies: tuple[Latency, ...]
    size_mb: float


def measure(
    line: Line, kind: Kind, dataset_version: str, frames: Rows, runs: Mapping[str, Run], *, measured_by: str
) -> Evaluation:
    """Judge stored predictions.

    Args:
        line: Its classes and evaluation plan.
        kind: Of the line.
        dataset_version: Where the frames are from.
        frames: Manifest rows of the test split, in the order of `frames_of_test_split`.
        runs: By role: 'challenger', and 'champion' if there is one.
        measured_by: The code's version, to be noted.
    """
    plan = line.evaluation
    judged = {role: kind.metrics.judge(run.predictions, frames, line) for role, run in runs.items()}
    clusters, cluster = _clusters([row["group"] for row in frames])
    drawn = paired_bootstrap(
        {role: judgement.statistic for role, judgement in judged.items()},
        cluster,
        resamples=plan.resamples,
        seed=plan.seed,
    )
    names, index = _recordings(frames)
    worst = {role: _worst(judgement.errors, index, kind.words.shown) for role, judgement in judged.items()}
    results = {
        role: _result(line, kind, run, judged[role], frames, (drawn, role, cluster), worst[role])
        for role, run in runs.items()
    }
    return Evaluation(
        line=line.line,
        kind=kind.name,
        classes=tuple(line.classes),
        dataset_version=dataset_version,
        images=len(frames),
        recordings=tuple(names),
        clusters=tuple(clusters),
        device=results["challenger"].latencies[0].device,
        confidence=plan.confidence,
        resamples=plan.resamples,
        seed=plan.seed,
        challenger=results["challenger"],
        champion=results.get("champion"),
        differences=_differences(results, judged, drawn, cluster),
        beside=_views(line, kind, runs["champion"], judged["champion"], frames, worst["challenger"])
        if "champion" in runs
        else (),
        paired_tests=_paired_tests(judged),
        measured_by=measured_by,
    )


def _clusters(groups: Sequence[str]) -> tuple[list[str], IntArray]:
    names = sorted(set(groups))
    place = {name: i for i, name in enumerate(names)}
    return names, np.array([place[group] for group in groups], dtype=np.int64)


def _recording_names(frames: Rows) -> list[str]:
    """Each frame's recording by name, told apart by its id where two recordings share a name."""
    ids: dict[str, set[str]] = {}
    for row in frames:
        ids.setdefault(row["recording_name"], set()).add(row["recording_id"])
    return [
        row["recording_name"] if len(ids[row["recording_name"]]) == 1
        else f"{row['recording_name']} ({row['recording_id'][:8]})"
        for row in frames
    ]  # fmt: skip


def _recordings(frames: Rows) -> tuple[list[str], IntArray]:
    """The recordings' names in order, and the place of each frame's recording among them: int64 [I]."""
    names = _recording_names(frames)
    place = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return list(place), np.array([place[name] for name in names], dtype=np.int64)


def _part_by_part(judgement: Judgement, frames: Rows) -> dict[str, Any]:
    """What is also measured one by one: recordings, or donors of many single pictures; and studies, of several."""
    names, index = _recordings(frames)
    if len(names) < len(frames) or len(names) <= FEW_RECORDINGS:
        found = {"per_recording": measured_by(judgement, names, index)}
    else:
        donors = [row["group"].partition(":")[2] if row["group"].startswith("donor:") else None for row in frames]
        found = {"per_donor": _by_name(judgement, donors)}
    studies = [row.get("study") for row in frames]
    if len({study for study in studies if study}) > 1:
        found["per_study"] = _by_name(judgement, studies)
    return {family: rows for family, rows in found.items() if rows}


def _by_name(judgement: Judgement, names: Sequence[str | None]) -> dict[str, dict[str, Any]]:
    """Metrics of the images of each name; images of none are left out."""
    place = {name: i for i, name in enumerate(sorted({name for name in names if name}))}
    return measured_by(judgement, list(place), np.array([place[n] if n else -1 for n in names], dtype=np.int64))


def _result(
    line: Line,
    kind: Kind,
    run: Run,
    judgement: Judgement,
    frames: Rows,
    drawn: tuple[Resamples | None, str, IntArray],
    worst: list[int],
) -> ModelResult:
    metrics = {
        **measured(judgement, len(frames)),
        **_part_by_part(judgement, frames),
        "latency_ms_p50": run.latencies[0].latency_ms_p50,
        "latency_ms_p95": run.latencies[0].latency_ms_p95,
        "model_size_mb": run.size_mb,
        "device": run.latencies[0].device,
    }
    confusion = judgement.confusion
    return ModelResult(
        model=run.model,
        metrics=metrics,
        intervals=_intervals(judgement, line.evaluation.confidence, *drawn),
        predictions_oid=run.predictions_oid,
        latencies=run.latencies,
        plots=tuple(
            Plot(
                title=curve.title,
                x_title=curve.x_title,
                y_title=curve.y_title,
                series={name: (tuple(x), tuple(y)) for name, (x, y) in curve.series.items()},
                diagonal=curve.diagonal,
                chance=curve.chance,
                metric=curve.metric,
            )
            for curve in judgement.curves
        ),
        confusion=Table(**asdict(confusion)) if confusion else None,
        breakdown=judgement.breakdown,
        worst=_views(line, kind, run, judgement, frames, worst),
    )


def _views(
    line: Line, kind: Kind, run: Run, judgement: Judgement, frames: Rows, images: list[int]
) -> tuple[FrameView, ...]:
    return tuple(kind.drawing.views(run.predictions, frames, line, judgement, images))


def _paired_tests(judged: Mapping[str, Judgement]) -> tuple[PairedTest, ...]:
    if "champion" not in judged:
        return ()
    out = []
    for name, right in judged["challenger"].right.items():
        found = mcnemar(right, judged["champion"].right[name])
        out.append(
            PairedTest(
                name=name,
                both=found.both,
                only_challenger=found.only_first,
                only_champion=found.only_second,
                neither=found.neither,
                p_value=round(found.p_value, DIGITS),
            )
        )
    return tuple(out)


def _worst(errors: FloatArray, recording: IntArray, most: int) -> list[int]:
    """The frames with most mistakes; no recording takes more than its share while another has mistakes to show."""
    order = [int(i) for i in np.argsort(-errors, kind="stable") if errors[i] > 0]
    share = math.ceil(most / max(1, len({int(recording[i]) for i in order})))
    taken: dict[int, int] = {}
    first: list[int] = []
    rest: list[int] = []
    for i in order:
        taken[int(recording[i])] = taken.get(int(recording[i]), 0) + 1
        (first if taken[int(recording[i])] <= share else rest).append(i)
    chosen = (first + rest)[:most]
    return sorted(chosen, key=lambda i: (-errors[i], i))


def _intervals(
    judgement: Judgement, confidence: float, drawn: Resamples | None, role: str, cluster: IntArray
) -> dict[str, Any]:
    """Two-sided intervals of a model's own metrics; empty bounds where no interval exists."""
    flat: dict[MetricPath, Any] = {}
    for path, support in judgement.support.items():
        values = np.round(drawn.values[role][path], DRAW_DIGITS) if drawn else np.zeros(0)
        clusters = supporting_clusters(support, cluster) if drawn else 1
        own = interval(values, confidence, clusters)
        flat[path] = {"low": _rounded(own.low), "high": _rounded(own.high), "confidence": own.confidence}
    return tree(flat)


def _rounded(bound: float | None) -> float | None:
    return None if bound is None else round(bound, DRAW_DIGITS)


def _differences(
    results: dict[str, ModelResult], judged: dict[str, Judgement], drawn: Resamples | None, cluster: IntArray
) -> tuple[Difference, ...]:
    if "champion" not in results:
        return ()
    draws = drawn.differences("challenger", "champion") if drawn else {}
    out = []
    for path, support in judged["challenger"].support.items():
        mine, theirs = (find(results[role].metrics, path) for role in ("challenger", "champion"))
        out.append(
            Difference(
                path=path,
                value=None if mine is None or theirs is None else round(mine - theirs, DIGITS),
                clusters=supporting_clusters(support, cluster),
                draws=tuple(None if np.isnan(d) else round(float(d), DRAW_DIGITS) for d in draws.get(path, [])),
            )
        )
    return tuple(out)
