"""Pictures with what was labelled and what was predicted of each class, for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tasks.config import Line
from tasks.kind import FrameView, PictureLabel
from tasks.kinds.classification.metrics import Rows, labelled_targets, predicted_scores
from tasks.metrics.judgement import Judgement

if TYPE_CHECKING:
    import pyarrow as pa


def views(
    predictions: pa.Table, frames: Rows, line: Line, judgement: Judgement, images: Sequence[int]
) -> list[FrameView]:
    """Pictures with the probability of each class, as the judgement took them: in the line's order of classes."""
    scores, targets = predicted_scores(predictions, frames, line), labelled_targets(frames, line)
    if line.multi_label:
        predicted = scores >= float(judgement.facts["threshold"])
    else:
        predicted = np.arange(len(line.classes)) == scores.argmax(axis=1)[:, None]
    keys = ("frame_oid", "recording_name", "frame_index", "pts_s", "width_px", "height_px")
    return [
        FrameView(
            **{key: frames[image][key] for key in keys},
            errors=int(judgement.errors[image]),
            whole=tuple(
                PictureLabel(
                    label=name,
                    labelled=None if np.isnan(targets[image, k]) else bool(targets[image, k] > 0.5),
                    predicted=bool(predicted[image, k]),
                    score=round(float(scores[image, k]), 3),
                )
                for k, name in enumerate(line.classes)
            ),
        )
        for image in images
    ]
