"""Numbers of segmentation: manifest rows and a model's cells to masks, which `tasks.metrics.segmentation` scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.config import Line
from tasks.errors import DataError
from tasks.kinds.segmentation.instances import Instances
from tasks.kinds.segmentation.objects import filled
from tasks.metrics import masks
from tasks.metrics.judgement import Judgement
from tasks.metrics.operating_point import size_ranges
from tasks.metrics.segmentation import METRICS as METRICS
from tasks.metrics.segmentation import judge as judge_masks
from tasks.metrics.segmentation_masks import Masks

if TYPE_CHECKING:
    import pyarrow as pa

Rows = Sequence[dict[str, Any]]

NOTHING = 0.05
"""Of AP50_pooled: a model that outlines at random reaches less."""
_SIDES = ("x_px", "y_px", "width_px", "height_px")


def slices(line: Line) -> dict[str, tuple[str, ...]]:
    """Classes, and cell sizes by the line's limits in pixels."""
    plan = line.evaluation
    sizes = [name for name in size_ranges(plan.small_px, plan.large_px) if name != "all"]
    return {"class": tuple(line.classes), "size": tuple(sizes)}


def tabulate(outputs: Sequence[Instances], frames: Rows, model_classes: Sequence[str], line: Line) -> pa.Table:
    """Rows of predictions: one for each cell, with the picture it is on. The box is the mask's own.

    Args:
        outputs: For each picture, its cells.
        frames: Manifest rows in the same order.
        model_classes: The model's class names; cells of a class that the line does not have are left out, and so are
            those without a pixel.
        line: Whose classes count.

    Raises:
        DataError: A score is no number from 0 to 1, or the masks are of a picture of another size.
    """
    import pyarrow as pa

    names = [line.class_named(name) for name in model_classes]
    rows = [row for found, frame in zip(outputs, frames, strict=True) for row in _rows_of(found, frame, names)]
    columns = {
        "frame_oid": pa.string(), "recording_id": pa.string(), "frame_index": pa.int64(), "label": pa.string(),
        "score": pa.float64(), **dict.fromkeys(_SIDES, pa.float64()), "area_px": pa.int64(), "mask": pa.string(),
    }  # fmt: skip
    return pa.Table.from_pylist(rows, schema=pa.schema(list(columns.items())))


def _rows_of(found: Instances, frame: dict[str, Any], names: Sequence[str | None]) -> list[dict[str, Any]]:
    _check(found, frame)
    coco = [masks.as_coco(text, found.height_px, found.width_px) for text in found.masks]
    areas, boxes = masks.areas(coco).tolist(), masks.boxes(coco).tolist()
    where = {name: frame[name] for name in ("frame_oid", "recording_id", "frame_index")}
    cells = zip(found.labels.tolist(), found.scores.tolist(), boxes, areas, found.masks, strict=True)
    return [
        {
            **where, "label": names[label], "score": score, **dict(zip(_SIDES, box, strict=True)), "area_px": area,
            "mask": text,
        }
        for label, score, box, area, text in cells if names[label] is not None and area
    ]  # fmt: skip


def _check(found: Instances, frame: dict[str, Any]) -> None:
    size, wanted = (found.width_px, found.height_px), (frame.get("width_px"), frame.get("height_px"))
    if None not in wanted and size != wanted:
        raise DataError(
            f"prediction for {_name(frame)}: its masks are of a picture of another size",
            expected=f"{wanted[0]} x {wanted[1]} pixels",
            found=f"{size[0]} x {size[1]} pixels",
            fix="a predictor must give masks of the whole picture as it was given it",
        )
    if not bool(((found.scores >= 0) & (found.scores <= 1)).all()):
        raise DataError(
            f"prediction for {_name(frame)}: a score is not a number from 0 to 1",
            expected="a score of each cell from 0 to 1",
            found=str(found.scores[~((found.scores >= 0) & (found.scores <= 1))][:8].tolist()),
            fix="look at the training's loss: a model that diverged predicts such numbers",
        )


def judge(predictions: pa.Table, frames: Rows, line: Line) -> Judgement:
    """Score stored masks against the labelled ones."""
    plan = line.evaluation
    return judge_masks(
        predicted_masks(predictions, frames, line),
        labelled_masks(frames, line),
        classes=tuple(line.classes),
        small_px=plan.small_px,
        large_px=plan.large_px,
        score_threshold=plan.score_threshold,
    )


def predicted_masks(predictions: pa.Table, frames: Rows, line: Line) -> Masks:
    """Stored predictions as arrays, in their stored order.

    Raises:
        DataError: They are of other pictures than the frames.
    """
    place = {(row["recording_id"], row["frame_index"]): i for i, row in enumerate(frames)}
    classes = {name: i for i, name in enumerate(line.classes)}
    columns = predictions.select(["recording_id", "frame_index", "label", "score", "mask"]).to_pydict()
    where = zip(columns["recording_id"], columns["frame_index"], strict=True)
    try:
        image = [place[key] for key in where]
        return Masks.of(image, [classes[name] for name in columns["label"]], columns["mask"], _sizes(frames),
                        columns["score"])  # fmt: skip
    except (KeyError, ValueError) as error:
        raise DataError(
            f"line {line.line}: the stored predictions are of other pictures ({error})",
            expected=f"masks of the {len(frames)} test pictures",
        ) from error


def labelled_masks(frames: Rows, line: Line) -> Masks:
    """The manifest's labels as arrays; boxes that wait to be filled are none.

    Raises:
        DataError: Labels name a class that the line does not have, or are no masks of their picture; naming all.
    """
    classes = {name: i for i, name in enumerate(line.classes)}
    image, label, counts, faults = [], [], [], []
    for i, row in enumerate(frames):
        for number, item in enumerate(filled(json.loads(row["objects"] or "[]"))):
            if (fault := _fault(item, row, classes)) is not None:
                faults.append(f"{_name(row)}, cell {number}: {fault}")
                continue
            image.append(i)
            label.append(classes[item["label"]])
            counts.append(item["mask"])
    if faults:
        raise DataError(
            f"line {line.line}: labels cannot be measured against: {'; '.join(faults[:10])}",
            expected=f"masks of their pictures' size, of one of: {', '.join(classes)}",
            found=f"{len(faults)} that are not",
            fix="correct them in Label Studio, or freeze the dataset again under the line's present classes",
        )
    return Masks.of(image, label, counts, _sizes(frames))


def _fault(item: dict[str, Any], row: dict[str, Any], classes: dict[str, int]) -> str | None:
    if item["label"] not in classes:
        return f"label {item['label']!r}"
    try:
        masks.check_counts(item["mask"], row["height_px"], row["width_px"])
    except ValueError as error:
        return str(error)
    return None


def _sizes(frames: Rows) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array([(row["height_px"], row["width_px"]) for row in frames], dtype=np.int64).reshape(-1, 2)


def _name(frame: dict[str, Any]) -> str:
    return f"{frame.get('recording_name') or 'a picture'} frame {frame['frame_index']}"
