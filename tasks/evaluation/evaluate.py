"""Judge challenger and champion on the same frozen test split, in the same run.

A stored old score is no evidence: the champion predicts again, on the images that the challenger predicts. Predictions
are stored first (one Parquet blob for each model), then the metrics are computed from what was stored, then the
evaluation is stored as one JSON blob: it exists when that does.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.config import Line
from tasks.errors import ConfigError, InsufficientData
from tasks.evaluation.evaluation import Difference, Evaluation, Latency, ModelRef, ModelResult, Plot, Table
from tasks.evaluation.kinds import Kind, kind_of
from tasks.evaluation.predict import LoadPredictor, predict
from tasks.lake import Lake
from tasks.metrics.bootstrap import Resamples, interval, paired_bootstrap, supporting_clusters
from tasks.metrics.judgement import (
    FloatArray,
    IntArray,
    Judgement,
    MetricPath,
    find,
    measured,
    measured_by,
    tree,
)
from tasks.schemas import Oid, canonical_json

if TYPE_CHECKING:
    import pyarrow as pa

WORST_FRAMES = 6
CPU_LATENCY_IMAGES = 50

Rows = list[dict[str, Any]]


def evaluate(
    lake: Lake,
    line: Line,
    dataset_version: str,
    *,
    challenger: ModelRef,
    champion: ModelRef | None,
    load: LoadPredictor,
) -> tuple[Oid, Evaluation]:
    """Evaluate on the test split of a dataset version and store everything.

    Args:
        lake: Where the manifest and the images are.
        line: Its classes, evaluation plan and gates (a latency gate on the CPU has the CPU timed too).
        dataset_version: Whose test split judges, whatever either model was trained on.
        challenger: The new model.
        champion: The one in charge; None = there is none yet.
        load: Makes a predictor of a model reference.

    Returns:
        The evaluation's oid, and the evaluation.

    Raises:
        NotFound: No such dataset version.
        InsufficientData: Its test split has no frames.
    """
    frames = frames_of_test_split(lake, line, dataset_version)
    paths_by_oid = lake.blobs.fetch_many({row["frame_oid"] for row in frames})
    paths = [paths_by_oid[row["frame_oid"]] for row in frames]
    models = {"challenger": challenger} | ({"champion": champion} if champion else {})
    kind = kind_of(line.kind)
    tables: dict[str, tuple[pa.Table, Oid, tuple[Latency, ...]]] = {}
    for role, model in models.items():
        outputs, latencies = _run(line, model, role, paths, load)
        tables[role] = *_store(lake, kind.tabulate(outputs, frames, model.classes, line)), latencies
    judged = {role: kind.judge(table, frames, line) for role, (table, _, _) in tables.items()}
    clusters, cluster = _clusters([row["group"] for row in frames])
    plan = line.evaluation
    drawn = paired_bootstrap(
        {role: judgement.statistic for role, judgement in judged.items()},
        cluster,
        resamples=plan.resamples,
        seed=plan.seed,
    )
    results = {
        role: _result(line, kind, models[role], judged[role], frames, tables[role], (drawn, role, cluster))
        for role in models
    }
    evaluation = Evaluation(
        line=line.line,
        kind=line.kind,
        classes=tuple(line.classes),
        dataset_version=dataset_version,
        images=len(frames),
        recordings=tuple(dict.fromkeys(_recording_names(frames))),
        clusters=tuple(clusters),
        device=results["challenger"].latencies[0].device,
        confidence=plan.confidence,
        resamples=plan.resamples,
        seed=plan.seed,
        challenger=results["challenger"],
        champion=results.get("champion"),
        differences=_differences(results, judged, drawn, cluster),
    )
    data = canonical_json(evaluation.model_dump(mode="json")).encode()
    return lake.blobs.put_bytes(data, "application/json"), evaluation


def frames_of_test_split(lake: Lake, line: Line, dataset_version: str) -> Rows:
    """The manifest rows of the test split, in the order that evaluation uses.

    Raises:
        NotFound: No such dataset version.
        InsufficientData: It has no test split.
    """
    rows: Rows = lake.datasets.load(line.line, dataset_version).rows.to_pylist()
    frames = [row for row in rows if row["split"] == "test"]
    if not frames:
        raise InsufficientData(
            f"line {line.line}: dataset version {dataset_version[:12]} has no test split",
            fix="add recordings from a new donor, or pin one to the test split with 'nightscope add --split test'",
        )
    return sorted(frames, key=lambda row: (row["recording_name"], row["recording_id"], row["frame_index"]))


def _run(
    line: Line, model: ModelRef, role: str, paths: Sequence[Path], load: LoadPredictor
) -> tuple[list[Any], tuple[Latency, ...]]:
    """Predict everything; time on the CPU too where a gate asks for it and the model runs elsewhere."""
    what = f"{line.line}: {role} {model.model_version}"
    predictor = load(model, None)
    outputs, latency = predict(predictor, paths, what)
    asks_for_cpu = any(gate.device == "cpu" and gate.metric.startswith("latency") for gate in line.gates)
    if not asks_for_cpu or predictor.device == "cpu":
        return outputs, (latency,)
    step = max(1, len(paths) // CPU_LATENCY_IMAGES)
    _, on_cpu = predict(load(model, "cpu"), paths[::step], f"{what} on the CPU")
    return outputs, (latency, on_cpu)


def _store(lake: Lake, table: pa.Table) -> tuple[pa.Table, Oid]:
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", version="2.6")
    return table, lake.blobs.put_bytes(sink.getvalue(), "application/vnd.apache.parquet")


def stored_predictions(lake: Lake, result: ModelResult) -> pa.Table:
    """A model's predictions as they were stored."""
    import pyarrow.parquet as pq

    return pq.read_table(lake.blobs.fetch(result.predictions_oid))


def rejudge(lake: Lake, line: Line, evaluation: Evaluation, result: ModelResult) -> Judgement:
    """Judge stored predictions again: the same numbers, for whoever doubts them.

    Raises:
        ConfigError: The line is not the one that was evaluated.
    """
    if (line.line, tuple(line.classes)) != (evaluation.line, evaluation.classes):
        raise ConfigError(f"evaluation of line {evaluation.line} with other classes than {line.line}'s")
    frames = frames_of_test_split(lake, line, evaluation.dataset_version)
    return kind_of(line.kind).judge(stored_predictions(lake, result), frames, line)


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


def _result(
    line: Line,
    kind: Kind,
    model: ModelRef,
    judgement: Judgement,
    frames: Rows,
    stored: tuple[pa.Table, Oid, tuple[Latency, ...]],
    drawn: tuple[Resamples | None, str, IntArray],
) -> ModelResult:
    table, oid, latencies = stored
    names = _recording_names(frames)
    parts = list(dict.fromkeys(names))
    index = np.array([parts.index(name) for name in names], dtype=np.int64)
    metrics = {
        **measured(judgement, len(frames)),
        "per_recording": measured_by(judgement, parts, index),
        "latency_ms_p50": latencies[0].latency_ms_p50,
        "latency_ms_p95": latencies[0].latency_ms_p95,
        "device": latencies[0].device,
    }
    worst = _worst(judgement.errors, index)
    confusion = judgement.confusion
    return ModelResult(
        model=model,
        metrics=metrics,
        intervals=_intervals(judgement, line.evaluation.confidence, *drawn),
        predictions_oid=oid,
        latencies=latencies,
        plots=tuple(
            Plot(
                title=curve.title,
                x_title=curve.x_title,
                y_title=curve.y_title,
                series={name: (tuple(x), tuple(y)) for name, (x, y) in curve.series.items()},
            )
            for curve in judgement.curves
        ),
        confusion=Table(rows=confusion.rows, columns=confusion.columns, counts=confusion.counts) if confusion else None,
        worst=tuple(kind.views(table, frames, line, judgement, worst)),
    )


def _worst(errors: FloatArray, recording: IntArray) -> list[int]:
    """The frames with most mistakes; no recording takes more than its share while another has mistakes to show."""
    order = [int(i) for i in np.argsort(-errors, kind="stable") if errors[i] > 0]
    share = math.ceil(WORST_FRAMES / max(1, len({int(recording[i]) for i in order})))
    taken: dict[int, int] = {}
    first: list[int] = []
    rest: list[int] = []
    for i in order:
        taken[int(recording[i])] = taken.get(int(recording[i]), 0) + 1
        (first if taken[int(recording[i])] <= share else rest).append(i)
    chosen = (first + rest)[:WORST_FRAMES]
    return sorted(chosen, key=lambda i: (-errors[i], i))


def _intervals(
    judgement: Judgement, confidence: float, drawn: Resamples | None, role: str, cluster: IntArray
) -> dict[str, Any]:
    """Two-sided intervals of a model's own metrics; empty bounds where no interval exists."""
    flat: dict[MetricPath, Any] = {}
    for path, support in judgement.support.items():
        values = drawn.values[role][path] if drawn else np.zeros(0)
        clusters = supporting_clusters(support, cluster) if drawn else 1
        flat[path] = interval(values, confidence, clusters).model_dump()
    return tree(flat)


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
                value=None if mine is None or theirs is None else mine - theirs,
                clusters=supporting_clusters(support, cluster),
                draws=tuple(None if np.isnan(d) else round(float(d), 9) for d in draws.get(path, [])),
            )
        )
    return tuple(out)
