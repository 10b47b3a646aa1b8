"""Pictures with the outlines of their cells, for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.config import Line
from tasks.kind import FrameView, Shape
from tasks.kinds.segmentation.metrics import Rows, labelled_masks, predicted_masks
from tasks.metrics.confusion import pair_objects
from tasks.metrics.judgement import Judgement
from tasks.metrics.segmentation_masks import Masks, overlaps
from tasks.metrics.segmentation_outlines import pixels_of

if TYPE_CHECKING:
    import pyarrow as pa

Points = tuple[tuple[float, float], ...]
_EXACT_PX = 0.5
"""How far a drawn outline may lie off the mask's."""


def views(
    predictions: pa.Table, frames: Rows, line: Line, judgement: Judgement, images: Sequence[int]
) -> list[FrameView]:
    """Pictures with their cells, each right, wrong or missed at the judgement's score threshold."""
    found, truth = predicted_masks(predictions, frames, line), labelled_masks(frames, line)
    shown = np.asarray(list(images), dtype=np.int64)
    found, truth = found.kept(np.isin(found.image, shown)), truth.kept(np.isin(truth.image, shown))
    pairs = overlaps(found, truth).pairs(0.5)
    marks = pair_objects(found, truth, pairs, float(judgement.facts["score_threshold"]))
    classes, drawn = tuple(line.classes), []
    for image in images:
        predicted = [
            shape
            for d in np.flatnonzero((found.image == image) & (marks.partner >= -1))
            for shape in _shapes(found, d, classes, _state(marks.partner[d], found.label[d], truth.label, "wrong"))
        ]
        labelled = [
            shape
            for g in np.flatnonzero(truth.image == image)
            for shape in _shapes(
                truth, g, classes, _state(marks.found_by[g], truth.label[g], found.label, "missed"), scored=False
            )
        ]
        row = frames[image]
        keys = ("frame_oid", "recording_name", "frame_index", "pts_s", "width_px", "height_px")
        drawn.append(
            FrameView(
                **{key: row[key] for key in keys},
                errors=int(judgement.errors[image]),
                labelled=tuple(labelled),
                predicted=tuple(predicted),
            )
        )
    return drawn


def polygons(counts: str, height_px: int, *, exact_px: float = 0.0) -> list[Points]:
    """The outer outlines of a mask, one for each piece of it, largest first; holes are not drawn.

    Points are x, y, where the pixel in column x covers x to x + 1: they lie in the middle of the outermost pixels.

    Args:
        counts: Checked run lengths.
        height_px: Of the picture.
        exact_px: How far a simpler outline may lie off; 0: every corner.
    """
    import cv2

    rows, columns = pixels_of(counts, height_px)
    if not len(rows):
        return []
    top, left = int(rows.min()), int(columns.min())
    crop = np.zeros((int(rows.max()) - top + 1, int(columns.max()) - left + 1), dtype=np.uint8)
    crop[rows - top, columns - left] = 1
    contours, _ = cv2.findContours(crop, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    middle = np.array([left + 0.5, top + 0.5])
    out = []
    for contour in sorted(contours, key=lambda each: -cv2.contourArea(each)):
        simple = cv2.approxPolyDP(contour, exact_px, True) if exact_px else contour
        points = (simple if len(simple) > 2 else contour).reshape(-1, 2) + middle
        out.append(_widened(points) if len(points) < 3 else tuple((float(x), float(y)) for x, y in points))
    return out


def _widened(points: np.ndarray[Any, Any]) -> Points:
    """One pixel, or a row of them, as the rectangle that they cover: a line would not be seen."""
    (x1, y1), (x2, y2) = points.min(axis=0) - 0.5, points.max(axis=0) + 0.5
    return ((float(x1), float(y1)), (float(x2), float(y1)), (float(x2), float(y2)), (float(x1), float(y2)))


def _state(partner: int, label: int, labels: Any, otherwise: Any) -> Any:
    if partner < 0:
        return otherwise
    return "right" if labels[partner] == label else "wrong"


def _shapes(masks: Masks, index: int, classes: tuple[str, ...], state: Any, *, scored: bool = True) -> list[Shape]:
    height = int(masks.size_px[masks.image[index], 0])
    return [
        Shape(
            points=points,
            label=classes[masks.label[index]],
            state=state,
            score=round(float(masks.score[index]), 3) if scored else None,
        )
        for points in polygons(masks.counts[index], height, exact_px=_EXACT_PX)
    ]
