"""Whether another score threshold would do better, measured where it was not chosen."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.metrics.threshold import Claims, threshold_gain

IMAGES, EACH = 12, 6


def claims(right_from: float, seed: int = 0) -> Claims:
    """Images with right claims of high score and wrong ones of low score, parted at `right_from`."""
    random = np.random.default_rng(seed)
    image = np.repeat(np.arange(IMAGES), 2 * EACH)
    right = np.tile([True] * EACH + [False] * EACH, IMAGES)
    score = np.where(right, random.uniform(right_from, 1, len(image)), random.uniform(0, right_from, len(image)))
    return Claims(score=score, right=right, image=image, positives=np.full(IMAGES, EACH))


def test_a_threshold_far_too_low_gains_what_its_false_claims_cost() -> None:
    cluster = np.arange(IMAGES) // 2
    found = threshold_gain(claims(0.6), cluster, 0.0, confidence=0.95, resamples=200, seed=0)
    assert found is not None and found.shipped_F1 == pytest.approx(2 / 3) and found.best_F1 == 1.0
    assert 0.6 <= found.best < 0.7 and found.gain is not None and found.low is not None
    assert 0.25 < found.gain <= 1 / 3 and 0 < found.low <= found.gain <= (found.high or 0)


def test_the_best_threshold_is_not_measured_on_the_groups_that_chose_it() -> None:
    """Scores that mean nothing: the threshold of the best F1 there flatters, and elsewhere brings nothing."""
    random = np.random.default_rng(3)
    image = np.repeat(np.arange(IMAGES), 4)
    noise = Claims(random.random(len(image)), random.random(len(image)) < 0.5, image, np.full(IMAGES, 2))
    found = threshold_gain(noise, np.arange(IMAGES), 0.5, confidence=0.95, resamples=200, seed=0)
    assert found is not None and found.gain is not None
    assert found.best_F1 >= found.shipped_F1 and found.gain <= found.best_F1 - found.shipped_F1


def test_the_shipped_one_may_be_the_best() -> None:
    found = threshold_gain(claims(0.5), np.arange(IMAGES) % 4, 0.5, confidence=0.95, resamples=100, seed=0)
    assert found is not None and found.shipped_F1 == 1.0 and found.gain is not None and found.gain <= 0


def test_one_group_has_nothing_to_choose_on() -> None:
    found = threshold_gain(claims(0.6), np.zeros(IMAGES, np.int64), 0.0, confidence=0.95, resamples=100, seed=0)
    assert found is not None and found.best_F1 == 1.0 and (found.gain, found.low, found.high) == (None, None, None)


@pytest.mark.parametrize("what", ["nothing there", "nothing right"])
def test_where_nothing_can_be_right_there_is_no_threshold(what: str) -> None:
    own = claims(0.5)
    if what == "nothing there":
        own = Claims(own.score, np.zeros_like(own.right), own.image, np.zeros_like(own.positives))
    else:
        own = Claims(own.score, np.zeros_like(own.right), own.image, own.positives)
    assert threshold_gain(own, np.arange(IMAGES), 0.5, confidence=0.95, resamples=10, seed=0) is None
