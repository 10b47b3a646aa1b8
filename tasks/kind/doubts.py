"""Doubtful labels of objects, in words: what the kinds that look for objects share of `Diagnosis`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.kind.diagnosis import Answered, DoubtfulLabel
from tasks.kind.objects import Row
from tasks.metrics.error_kinds import Named
from tasks.metrics.label_doubts import Look, Overlap, find_doubts

BoxOf = Callable[[int, int], tuple[float, float, float, float]]
"""A look's place (-1: the labels) and an object's place in it -> its box: x, y, width, height in pixels."""


def every_frame(answers: Sequence[Answered]) -> list[Row]:
    """Each frame that any model was asked about, once, in the order of the models."""
    found: dict[tuple[str, int], Row] = {}
    for answer in answers:
        for row in answer.frames:
            found.setdefault((row["recording_id"], row["frame_index"]), row)
    return list(found.values())


def asked_of(answer: Answered, frames: Sequence[Row]) -> NDArray[np.bool_]:
    """Which of the frames a model was asked about, [frames]."""
    own = {(row["recording_id"], row["frame_index"]) for row in answer.frames}
    return np.array([(row["recording_id"], row["frame_index"]) in own for row in frames], dtype=np.bool_)


def doubted(
    looks: Sequence[Look], truth: Named, frames: Sequence[Row], classes: Sequence[str], overlap: Overlap, box_of: BoxOf
) -> list[DoubtfulLabel]:
    """Find doubts, and say where they are.

    Args:
        looks, truth, overlap: As for `find_doubts`.
        frames: Rows, by the index of the image.
        classes: Names, by the index of the class.
        box_of: Where an object is.
    """
    found = []
    for doubt in find_doubts(looks, truth, overlap):
        row, seen = frames[doubt.image], doubt.prediction >= 0
        likely = classes[int(looks[doubt.look].objects.label[doubt.prediction])] if seen else None
        label = classes[int(truth.label[doubt.truth])] if doubt.truth >= 0 else None
        place = (doubt.look, doubt.prediction) if seen else (-1, doubt.truth)
        found.append(
            DoubtfulLabel(
                sort=doubt.sort,
                frame_oid=row["frame_oid"],
                recording_id=row["recording_id"],
                recording_name=row["recording_name"],
                frame_index=row["frame_index"],
                label=label,
                likely=likely,
                score=round(doubt.score, 6),
                models=doubt.models,
                box_px=box_of(*place),
            )
        )
    return found
