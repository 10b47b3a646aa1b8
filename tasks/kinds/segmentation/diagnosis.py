"""What a segmenter's cells say beyond its metrics: its score threshold, and labels that it contradicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tasks.config import Line
from tasks.kind import Answered, DoubtfulLabel, ModelRef, Row
from tasks.kind.doubts import asked_of, doubted, every_frame
from tasks.kinds.segmentation.answers import score_shown_from
from tasks.kinds.segmentation.metrics import labelled_masks, predicted_masks
from tasks.metrics import masks
from tasks.metrics.error_kinds import FOUND, NEAR, Named
from tasks.metrics.label_doubts import Look
from tasks.metrics.matching import Pairs
from tasks.metrics.operating_point import best_score, size_ranges
from tasks.metrics.segmentation import coco_matches
from tasks.metrics.segmentation_masks import Masks, overlaps
from tasks.metrics.threshold import Claims

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.lake import Lake
    from tasks.metrics.matching import Matches
    from tasks.metrics.segmentation_masks import Overlaps


def shown_from(lake: Lake, model: ModelRef, line: Line) -> float:
    """The line's threshold, else the recipe's, else the one that the training chose on its validation split."""
    from tasks.kinds.segmentation.networks import read

    of_weights = None if model.options.get("files") else read(lake.blobs.fetch(model.weights_oid))[1]["min_score"]
    return score_shown_from(model, line, None, of_weights)


def claims(predictions: pa.Table, frames: Sequence[Row], line: Line) -> Claims:
    """Every cell, right where it took a label of its class at IoU 0.5."""
    found, truth = predicted_masks(predictions, frames, line), labelled_masks(frames, line)
    own = _matches(found, truth, overlaps(found, truth), line)
    return Claims.of(own)


def doubtful_labels(answers: Sequence[Answered], line: Line) -> list[DoubtfulLabel]:
    """Cells that every model which was asked contradicts; see `tasks.metrics.label_doubts`."""
    frames = every_frame(answers)
    truth = labelled_masks(frames, line)
    found = [predicted_masks(answer.predictions, frames, line) for answer in answers]
    looks = []
    for answer, cells in zip(answers, found, strict=True):
        asked = asked_of(answer, frames)
        near, theirs = overlaps(cells, truth), truth.kept(asked[truth.image])
        threshold = best_score(_matches(cells, theirs, overlaps(cells, theirs), line))
        looks.append(Look(_named(cells), near.pairs(NEAR), asked, threshold))

    def overlap(one: int, two: int) -> Pairs:
        return overlaps(found[one], found[two]).pairs(FOUND)

    def box_of(look: int, number: int) -> tuple[float, float, float, float]:
        own = (truth if look < 0 else found[look]).coco(np.array([number]))
        x, y, width, height = masks.boxes(own)[0].tolist()
        return x, y, width, height

    return doubted(looks, _named(truth), frames, tuple(line.classes), overlap, box_of)


def _matches(predictions: Masks, truth: Masks, found: Overlaps, line: Line) -> list[Matches]:
    ranges = {"all": size_ranges(0, 1)["all"]}
    return [coco_matches(predictions, truth, found, label, ranges)["all"] for label in range(len(line.classes))]


def _named(cells: Masks) -> Named:
    return Named(cells.image, cells.label, cells.score, cells.crowd)
