"""How far two detectors agree that should be the same one: a model and its export for another runtime."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.metrics.boxes import Boxes, overlapping

LEAST_IOU = 0.5
"""Two boxes that overlap less are not the same detection."""


@dataclass(frozen=True)
class Agreement:
    """Detections of the one matched one to one with those of the other.

    Attributes:
        compared: Detections of the original above the score.
        without_partner: How many of them the other does not have, not even at half the score.
        extra: Detections of the other above the score that the original does not have, not even at half of it.
        corner_px_p50, corner_px_p95, corner_px_max: By how much the farthest side of a box moved; None = nothing to
            compare.
        score_max: Largest difference of two partners' scores; None = nothing to compare.
    """

    compared: int
    without_partner: int
    extra: int
    corner_px_p50: float | None
    corner_px_p95: float | None
    corner_px_max: float | None
    score_max: float | None


def compute_agreement(original: Boxes, other: Boxes, score: float) -> Agreement:
    """Compare two detectors' boxes on the same images, above an operating score.

    Partners are boxes of the same class and image, paired by falling IoU. They are looked for down to half the score,
    so that a score of 0.2501 that became 0.2499 is the tiny difference that it is, and no lost object.

    Args:
        original: Predictions with their scores.
        other: The same of the other, on the same images.
        score: From which on a detection is shown to anybody.
    """
    one, two, iou = overlapping(
        original.xywh, original.image, other.xywh, other.image, np.zeros(len(other.image), np.bool_), LEAST_IOU
    )
    live = (original.label[one] == other.label[two]) & (original.score[one] >= score / 2)
    live &= (other.score[two] >= score / 2) & np.maximum(original.score[one] >= score, other.score[two] >= score)
    one, two, iou = one[live], two[live], iou[live]
    partner = np.full(len(original.image), -1, dtype=np.int64)
    taken = np.full(len(other.image), -1, dtype=np.int64)
    for i in np.lexsort((two, one, -iou)):
        if partner[one[i]] < 0 and taken[two[i]] < 0:
            partner[one[i]], taken[two[i]] = two[i], one[i]
    shown = original.score >= score
    pairs = np.flatnonzero(shown & (partner >= 0))
    mine, theirs = original.xywh[pairs], other.xywh[partner[pairs]]
    near, far = np.abs(mine[:, :2] - theirs[:, :2]), np.abs(mine[:, :2] + mine[:, 2:] - theirs[:, :2] - theirs[:, 2:])
    moved = np.concatenate([near, far], axis=1).max(axis=1) if len(pairs) else np.zeros(0)
    scores = np.abs(original.score[pairs] - other.score[partner[pairs]])
    return Agreement(
        compared=int(shown.sum()),
        without_partner=int((shown & (partner < 0)).sum()),
        extra=int(((other.score >= score) & (taken < 0)).sum()),
        corner_px_p50=_rounded(moved, 50),
        corner_px_p95=_rounded(moved, 95),
        corner_px_max=_rounded(moved, 100),
        score_max=_rounded(scores, 100),
    )


def _rounded(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], percent: float) -> float | None:
    return round(float(np.percentile(values, percent)), 5) if len(values) else None
