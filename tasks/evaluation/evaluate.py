"""Judge challenger and champion on the same frozen test split, in the same run.

A stored old score is no evidence: the champion predicts again, on the images that the challenger predicts. Predictions
are stored first (one Parquet blob for each model), then everything is measured from what was stored, then the
evaluation is stored as one JSON blob: it exists when that does. `recompute` measures again, for whoever doubts it.
"""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.errors import ConfigError, InsufficientData, IntegrityError
from tasks.evaluation.evaluation import Evaluation, Latency
from tasks.evaluation.measure import Rows, Run, measure
from tasks.evaluation.predict import LoadPredictor, Pictures, pictures_of, predict
from tasks.kind import Kind, ModelRef
from tasks.lake import Lake
from tasks.provenance import code_of
from tasks.schemas import Oid, canonical_json

if TYPE_CHECKING:
    import pyarrow as pa

CPU_LATENCY_IMAGES = 50
_MB = 1_000_000


def evaluate(
    lake: Lake,
    line: Line,
    dataset_version: str,
    *,
    kind: Kind,
    challenger: ModelRef,
    champion: ModelRef | None,
    load: LoadPredictor | None = None,
) -> tuple[Oid, Evaluation]:
    """Evaluate on the test split of a dataset version and store everything.

    Args:
        lake: Where the manifest and the images are.
        line: Its classes, evaluation plan and gates (a latency gate on the CPU has the CPU timed too).
        dataset_version: Whose test split judges, whatever either model was trained on.
        kind: Of the line.
        challenger: The new model.
        champion: The one in charge; None = there is none yet.
        load: Makes a predictor of a model reference; default: the kind's own.

    Returns:
        The evaluation's oid, and the evaluation.

    Raises:
        NotFound: No such dataset version.
        InsufficientData: Its test split has no frames.
    """
    frames = frames_of_test_split(lake, line, dataset_version)
    pictures = pictures_of(lake, kind, lake.datasets.load(line.line, dataset_version), frames)
    models = {"challenger": challenger} | ({"champion": champion} if champion else {})
    if load is None:
        load = partial(kind.predictors.load, lake)
    runs = {role: _run(lake, line, kind, role, model, frames, pictures, load) for role, model in models.items()}
    measured_by = code_of("evaluation", kind.name)
    evaluation = measure(line, kind, dataset_version, frames, runs, measured_by=measured_by)
    data = canonical_json(evaluation.model_dump(mode="json")).encode()
    return lake.blobs.put_bytes(data, "application/json"), evaluation


def recompute(lake: Lake, line: Line, kind: Kind, evaluation: Evaluation) -> Evaluation:
    """Measure again, from the stored predictions and the manifest: every metric, interval, difference and draw.

    What cannot be measured again without the models is taken as it is stored: latencies, sizes, and by which code it
    was measured.

    Args:
        lake: Where the predictions and the manifest are.
        line: As it was judged, the run's changes included.
        kind: Of the line.
        evaluation: The stored one.

    Returns:
        What must equal `evaluation`, if nothing was tampered with and today's code is still its `measured_by`.

    Raises:
        ConfigError: The line is not the one that was evaluated.
        NotFound: The lake lacks the manifest or the predictions.
        IntegrityError: Their bytes are not what their names say.
    """
    if (line.line, tuple(line.classes)) != (evaluation.line, evaluation.classes):
        raise ConfigError(
            f"line {line.line}: is not the one that was evaluated",
            expected=f"{evaluation.line} with the classes {', '.join(evaluation.classes)}",
            found=f"{line.line} with the classes {', '.join(line.classes)}",
            fix="recompute with the line as it was judged: the verdict's line_oid",
        )
    frames = frames_of_test_split(lake, line, evaluation.dataset_version)
    results = {"challenger": evaluation.challenger} | ({"champion": evaluation.champion} if evaluation.champion else {})
    runs = {
        role: Run(
            model=result.model,
            predictions=stored_predictions(lake, result.predictions_oid),
            predictions_oid=result.predictions_oid,
            latencies=result.latencies,
            size_mb=float(result.metrics.get("model_size_mb") or 0.0),
        )
        for role, result in results.items()
    }
    return measure(line, kind, evaluation.dataset_version, frames, runs, measured_by=evaluation.measured_by)


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
    lake: Lake,
    line: Line,
    kind: Kind,
    role: str,
    model: ModelRef,
    frames: Rows,
    pictures: Pictures,
    load: LoadPredictor,
) -> Run:
    """Predict everything and store it; read back what was stored, as whoever recomputes will."""
    outputs, latencies = _predict(line, model, role, pictures, load)
    oid = _store(lake, kind.metrics.tabulate(outputs, frames, model.classes, line))
    size_mb = lake.blobs.fetch(model.weights_oid).stat().st_size / _MB
    return Run(model, stored_predictions(lake, oid), oid, latencies, size_mb)


def _predict(
    line: Line, model: ModelRef, role: str, pictures: Pictures, load: LoadPredictor
) -> tuple[list[Any], tuple[Latency, ...]]:
    """Predict everything; time on the CPU too where a gate asks for it and the model runs elsewhere."""
    what = f"{line.line}: {role} {model.model_version}"
    predictor = load(model, None)
    outputs, latency = predict(predictor, pictures.paths, what, originals=pictures.originals)
    asks_for_cpu = any(gate.device == "cpu" and gate.metric.startswith("latency") for gate in line.gates)
    if not asks_for_cpu or predictor.device == "cpu":
        return outputs, (latency,)
    step = max(1, len(pictures.paths) // CPU_LATENCY_IMAGES)
    some = Pictures(pictures.paths[::step], pictures.originals[::step])
    _, on_cpu = predict(load(model, "cpu"), some.paths, f"{what} on the CPU", originals=some.originals)
    return outputs, (latency, on_cpu)


def _store(lake: Lake, table: pa.Table) -> Oid:
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", version="2.6")
    return lake.blobs.put_bytes(sink.getvalue(), "application/vnd.apache.parquet")


def stored_predictions(lake: Lake, predictions_oid: Oid) -> pa.Table:
    """A model's predictions as they were stored.

    Raises:
        NotFound: The lake does not hold them.
        IntegrityError: They are no table, or their bytes are not what the oid says.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(lake.blobs.fetch(predictions_oid))
    except pa.ArrowInvalid as error:
        raise IntegrityError(f"blob {predictions_oid}: holds no predictions: {error}") from error
