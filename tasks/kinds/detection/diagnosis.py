"""What a detector's boxes say beyond its metrics: its score threshold, and labels that it contradicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tasks.config import Line
from tasks.kind import Answered, DoubtfulLabel, ModelRef, Row
from tasks.kind.doubts import asked_of, doubted, every_frame
from tasks.kinds.detection.answers import score_shown_from
from tasks.kinds.detection.metrics import labelled_boxes, predicted_boxes
from tasks.metrics.boxes import Boxes, overlapping
from tasks.metrics.detection import match_classes, size_ranges
from tasks.metrics.error_kinds import FOUND, NEAR, Named
from tasks.metrics.label_doubts import Look
from tasks.metrics.matching import Pairs
from tasks.metrics.operating_point import best_score
from tasks.metrics.threshold import Claims

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.lake import Lake
    from tasks.metrics.matching import Matches


def shown_from(lake: Lake, model: ModelRef, line: Line) -> float:
    """The line's threshold, else the recipe's, as `predict` and `serve` have it."""
    return score_shown_from(model, line, None)


def claims(predictions: pa.Table, frames: Sequence[Row], line: Line) -> Claims:
    """Every box, right where it took a label of its class at IoU 0.5."""
    own = _matches(predicted_boxes(predictions, frames, line), labelled_boxes(frames, line), line, len(frames))
    return Claims.of(own)


def doubtful_labels(answers: Sequence[Answered], line: Line) -> list[DoubtfulLabel]:
    """Boxes that every model which was asked contradicts; see `tasks.metrics.label_doubts`."""
    frames = every_frame(answers)
    truth = labelled_boxes(frames, line)
    found = [predicted_boxes(answer.predictions, frames, line) for answer in answers]
    looks = []
    for answer, boxes in zip(answers, found, strict=True):
        asked = asked_of(answer, frames)
        near = overlapping(boxes.xywh, boxes.image, truth.xywh, truth.image, truth.crowd, NEAR)
        threshold = best_score(_matches(boxes, _of_images(truth, asked), line, len(frames)))
        looks.append(Look(_named(boxes), Pairs(*near), asked, threshold))

    def overlap(one: int, two: int) -> Pairs:
        first, second = found[one], found[two]
        return Pairs(*overlapping(first.xywh, first.image, second.xywh, second.image, second.crowd, FOUND))

    def box_of(look: int, number: int) -> tuple[float, float, float, float]:
        x, y, width, height = (truth if look < 0 else found[look]).xywh[number].tolist()
        return x, y, width, height

    return doubted(looks, _named(truth), frames, tuple(line.classes), overlap, box_of)


def _matches(predictions: Boxes, truth: Boxes, line: Line, images: int) -> list[Matches]:
    ranges = {"all": size_ranges(0, 1)["all"]}
    found = match_classes(predictions, truth, classes=len(line.classes), images=images, ranges=ranges)
    return [of["all"] for of in found]


def _of_images(boxes: Boxes, images: np.ndarray) -> Boxes:  # type: ignore[type-arg]
    keep = images[boxes.image]
    return Boxes(boxes.image[keep], boxes.label[keep], boxes.xywh[keep], boxes.score[keep], boxes.crowd[keep])


def _named(boxes: Boxes) -> Named:
    return Named(boxes.image, boxes.label, boxes.score, boxes.crowd)
