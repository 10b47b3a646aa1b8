"""Numbers of classification: manifest rows and probabilities to arrays, which `tasks.metrics.classification` scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tasks.config import Line
from tasks.errors import DataError
from tasks.kinds.classification.objects import targets_of
from tasks.metrics.classification import METRICS as METRICS
from tasks.metrics.classification import judge as judge_scores
from tasks.metrics.judgement import Judgement

if TYPE_CHECKING:
    import pyarrow as pa

Rows = Sequence[dict[str, Any]]
FloatArray = NDArray[np.float64]

LEARNED_BY = "MCC"
"""Of a class against the rest: 0 for guessing and for always saying the same, however rare the class is."""
NOTHING = 0.05
_SLACK = 1e-5
"""A network's float32 may leave a probability so far outside of [0, 1]."""


def slices(line: Line) -> dict[str, tuple[str, ...]]:
    """Classes; in a multi-label line they are labels."""
    return {"label" if line.multi_label else "class": tuple(line.classes)}


def tabulate(outputs: Sequence[Any], frames: Rows, model_classes: Sequence[str], line: Line) -> pa.Table:
    """Rows of predictions: one for each picture and class of the line that the model knows, in the frames' order.

    Oids and names are stored once, as a dictionary, and scores in float32.

    Args:
        outputs: For each picture, probabilities [M] in the model's order of classes.
        frames: Manifest rows in the same order.
        model_classes: The model's M class names. Classes that the line does not have are left out; where two of them
            are one class of the line, a picture shows it if it shows either.
        line: Whose classes count.

    Raises:
        DataError: An output is not a probability for each class.
    """
    import pyarrow as pa

    scores = _probabilities(outputs, frames, model_classes)
    own = [line.class_named(name) for name in model_classes]
    labels = [name for name in line.classes if name in own]
    merged = np.zeros((len(frames), len(labels)))
    for k, name in enumerate(labels):
        mine = scores[:, [m for m, each in enumerate(own) if each == name]]
        merged[:, k] = mine.max(axis=1) if line.multi_label else mine.sum(axis=1).clip(0, 1)
    image = np.repeat(np.arange(len(frames), dtype=np.int32), len(labels))
    label = np.tile(np.arange(len(labels), dtype=np.int32), len(frames))

    def named(index: NDArray[np.int32], names: Sequence[str]) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(index), pa.array(list(names), pa.string()))

    oids = sorted({row["frame_oid"] for row in frames})
    place = {oid: i for i, oid in enumerate(oids)}
    picture = np.array([place[row["frame_oid"]] for row in frames], dtype=np.int32)
    return pa.table(
        {
            "image": pa.array(image),
            "frame_oid": named(picture[image], oids),
            "label": named(label, labels),
            "score": pa.array(merged.ravel().astype(np.float32)),
        }
    )


def _probabilities(outputs: Sequence[Any], frames: Rows, model_classes: Sequence[str]) -> FloatArray:
    """The outputs as one array [I, M].

    Raises:
        DataError: One is of another shape, not finite, or not within [0, 1].
    """
    wanted = (len(model_classes),)
    out = np.zeros((len(frames), len(model_classes)))
    for i, (output, row) in enumerate(zip(outputs, frames, strict=True)):
        found = np.asarray(output, dtype=np.float64)
        fits = found.shape == wanted and bool(np.isfinite(found).all())
        if not fits or found.min(initial=0) < -_SLACK or found.max(initial=0) > 1 + _SLACK:
            where = f"{row['recording_name']} frame {row['frame_index']}"
            raise DataError(
                f"prediction for {where}: is not a probability of each class",
                expected=f"{wanted[0]} numbers from 0 to 1 ({', '.join(model_classes)})",
                found=f"shape {list(found.shape)}: {found.ravel()[:8].tolist()}",
                fix="look at the training's loss: a model that diverged predicts such numbers",
            )
        out[i] = np.clip(found, 0, 1)
    return out


def judge(predictions: pa.Table, frames: Rows, line: Line) -> Judgement:
    """Score stored probabilities against the labels."""
    return judge_scores(
        predicted_scores(predictions, frames, line),
        labelled_targets(frames, line),
        classes=tuple(line.classes),
        multi_label=line.multi_label,
        threshold=line.evaluation.score_threshold,
    )


def predicted_scores(predictions: pa.Table, frames: Rows, line: Line) -> FloatArray:
    """Stored predictions as float64 [I, K], in the line's order of classes; 0 for a class that the model lacks.

    Raises:
        DataError: They are of other pictures than the frames.
    """
    out = np.zeros((len(frames), len(line.classes)))
    image = predictions.column("image").to_numpy()
    oids = predictions.column("frame_oid").to_pylist()
    if any(i >= len(frames) or frames[i]["frame_oid"] != oid for i, oid in zip(image.tolist(), oids, strict=True)):
        raise DataError(
            f"line {line.line}: the stored predictions are of other pictures",
            expected=f"the {len(frames)} test pictures",
        )
    place = {name: k for k, name in enumerate(line.classes)}
    label = np.array([place[name] for name in predictions.column("label").to_pylist()], dtype=np.intp)
    out[image, label] = predictions.column("score").to_numpy()
    return out


def labelled_targets(frames: Rows, line: Line) -> FloatArray:
    """The manifest's labels as float64 [I, K]: 1 the class is there, 0 it is not, NaN nobody said.

    Raises:
        DataError: A label names a class that the line does not have.
    """
    out = np.full((len(frames), len(line.classes)), np.nan)
    for i, row in enumerate(frames):
        try:
            out[i] = targets_of(json.loads(row["objects"] or "[]"), tuple(line.classes))
        except DataError as error:
            raise DataError(f"{row['recording_name']} frame {row['frame_index']}: {error}") from error
    return out
