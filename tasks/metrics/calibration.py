"""Calibration: whether a score means what it says, so that of all predictions scored 0.8 four in five are right.

The expected calibration error (ECE) is that of Naeini et al. 2015 and Guo et al. 2017 (arXiv:1706.04599, eq. 3): scores
fall into bins of equal width, and the gaps between mean score and share of right predictions are averaged, each bin
weighing as much as it holds predictions:

    ECE = sum over bins of  n_b / n  *  | right_b / n_b  -  mean score_b |

What "right" means for a model that finds objects is as in Küppers et al. 2020 (arXiv:2004.13546, "multivariate
confidence calibration"), without their dimensions of place and size: a prediction is right when it is matched to a
labelled object of its class at IoU 0.5, one to one. So it says nothing of what was missed; recall does. Predictions
that matching ignores (on a crowd) count neither way. The overall value pools the predictions of all classes.

Predictions of objects scored below `SCORE_FLOOR` are left out: average precision wants them by the thousand, nobody is
ever shown them, and their sheer number, all of it well calibrated near zero, would drown the rest. Of whole pictures
every score counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.metrics.average_precision import ratio
from tasks.metrics.matching import FloatArray, Matches

BINS = 10
SCORE_FLOOR = 0.1
_FEWEST_IN_A_POINT = 5
"""A point of the curve that rests on fewer predictions would only be noise."""
_UNIT = 1_000_000
"""Scores are summed as whole millionths: such sums are exact, in whatever order a processor takes them."""
FINE_UNIT = 10**10
"""The same where there is one score for each picture: sums stay below 2^53 for 900,000 pictures."""


@dataclass(frozen=True)
class Binned:
    """Predictions of one class by image and bin of score.

    Attributes:
        there: float64 [I, BINS], how many; whole numbers.
        right: float64 [I, BINS], how many of them are right; whole numbers.
        score: float64 [I, BINS], the sum of their scores in parts of `unit`; whole numbers.
        unit: Parts of a score of 1.
    """

    there: FloatArray
    right: FloatArray
    score: FloatArray
    unit: int = _UNIT


def binned(matches: Matches, images: int) -> Binned:
    """Sort the predictions of one class into bins, image by image."""
    keep = ~matches.ignored[:, 0] & (matches.score >= SCORE_FLOOR)
    return binned_scores(matches.score[keep], matches.tp[keep, 0], matches.image[keep], images)


def binned_scores(
    score: FloatArray, right: NDArray[np.bool_], image: NDArray[np.integer[Any]], images: int, unit: int = _UNIT
) -> Binned:
    """Sort scores into bins, image by image.

    Args:
        score: float [N], from 0 to 1.
        right: bool [N], whether that came true.
        image: int [N], where.
        images: How many there are.
        unit: Parts that scores are counted in.
    """
    score = np.clip(score, 0.0, 1.0)
    place = image * BINS + np.minimum((score * BINS).astype(np.intp), BINS - 1)

    def total(weights: FloatArray) -> FloatArray:
        return np.bincount(place, weights, images * BINS).astype(np.float64).reshape(images, BINS)

    return Binned(
        there=total(np.ones(len(score))),
        right=total(right.astype(np.float64)),
        score=total(np.rint(score * unit)),
        unit=unit,
    )


def expected_calibration_errors(classes: Sequence[Binned], weights: NDArray[np.int64]) -> FloatArray:
    """ECE under each row of image weights.

    Args:
        classes: Of C classes, all in the same unit.
        weights: int64 [R, I], how often each image counts.

    Returns:
        float64 [C + 1, R]: of each class, then of all together; NaN where there is no prediction.
    """
    stacked = np.concatenate(
        [part for own in classes for part in (own.there, own.right * own.unit - own.score)], axis=1
    )
    sums = (weights.astype(np.float64) @ stacked).reshape(len(weights), len(classes), 2, BINS)
    there, gap = sums[:, :, 0], sums[:, :, 1]  # [R, C, BINS]; a sum of whole numbers below 2^53 is exact
    out = [ratio(np.abs(gap[:, c]).sum(axis=1), there[:, c].sum(axis=1)) for c in range(len(classes))]
    out.append(ratio(np.abs(gap.sum(axis=1)).sum(axis=1), there.sum(axis=(1, 2))))
    return np.stack(out) / classes[0].unit


def reliability(own: Binned) -> tuple[list[float], list[float]]:
    """The reliability curve of one class: mean score and share of right predictions of each bin that holds enough."""
    there, right, score = (part.sum(axis=0) for part in (own.there, own.right, own.score))
    enough = there >= _FEWEST_IN_A_POINT
    x, y = score[enough] / there[enough] / own.unit, right[enough] / there[enough]
    return [round(float(v), 5) for v in x], [round(float(v), 5) for v in y]
