"""Two detectors that should be one: what moved, what is missing, what is new."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.metrics.agreement import compute_agreement
from tasks.metrics.boxes import Boxes


def boxes(*rows: tuple[int, int, float, float, float, float, float]) -> Boxes:
    """(image, label, x, y, width, height, score) each."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 7)
    return Boxes.of(table[:, 0], table[:, 1], table[:, 2:6], score=table[:, 6])


def test_the_farthest_side_of_each_box_counts() -> None:
    one = boxes((0, 0, 10, 10, 20, 20, 0.9), (1, 0, 10, 10, 20, 20, 0.8))
    two = boxes((1, 0, 10, 10, 20, 20, 0.7), (0, 0, 10.5, 10, 21, 20, 0.9))
    found = compute_agreement(one, two, 0.25)
    assert (found.compared, found.without_partner, found.extra) == (2, 0, 0)
    assert found.corner_px_max == pytest.approx(1.5)  # the right side: 30 became 31.5
    assert found.score_max == pytest.approx(0.1)


def test_missing_and_new_ones_are_counted() -> None:
    one = boxes((0, 0, 10, 10, 20, 20, 0.9), (0, 0, 50, 50, 20, 20, 0.9), (0, 0, 80, 80, 9, 9, 0.1))
    two = boxes((0, 0, 10, 10, 20, 20, 0.9), (0, 1, 50, 50, 20, 20, 0.9))  # another class is another object
    found = compute_agreement(one, two, 0.25)
    assert (found.compared, found.without_partner, found.extra) == (2, 1, 1)


def test_a_score_that_slips_under_the_threshold_is_no_lost_object() -> None:
    one, two = boxes((0, 0, 10, 10, 20, 20, 0.251)), boxes((0, 0, 10, 10, 20, 20, 0.249))
    assert compute_agreement(one, two, 0.25).without_partner == 0
    assert compute_agreement(two, one, 0.25).extra == 0


def test_partners_are_one_to_one() -> None:
    one = boxes((0, 0, 10, 10, 20, 20, 0.9), (0, 0, 12, 10, 20, 20, 0.8))
    two = boxes((0, 0, 11, 10, 20, 20, 0.9))
    assert compute_agreement(one, two, 0.25).without_partner == 1


def test_nothing_to_compare_has_no_numbers() -> None:
    found = compute_agreement(boxes(), boxes(), 0.25)
    assert (found.compared, found.extra, found.corner_px_p95, found.score_max) == (0, 0, None, None)
