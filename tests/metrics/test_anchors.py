"""Anchors: clusters of box sizes by 1 - IoU."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tasks.metrics.anchors import cluster_anchors, elbow, iou_of_sizes, pyramid_level


def sizes(*middles: tuple[float, float], each: int = 200, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([np.array(m) * rng.normal(1, 0.05, (each, 2)).clip(0.8, 1.2) for m in middles])


def test_iou_of_boxes_that_share_their_middle() -> None:
    found = iou_of_sizes(np.array([[10.0, 10.0], [4.0, 20.0]]), np.array([[10.0, 10.0], [20.0, 4.0]]))
    assert found == pytest.approx(np.array([[1, 40 / 140], [40 / 140, 16 / 144]]))


def test_three_sizes_are_found_the_smallest_first() -> None:
    """Plain k-means would spend its clusters on the large boxes, whose distances are the largest in pixels."""
    found = cluster_anchors(sizes((12, 9), (30, 60), (400, 300)), 3, seed=1)
    assert found.sizes == pytest.approx(np.array([[12, 9], [30, 60], [400, 300]]), rel=0.03)
    assert found.mean_iou > 0.9 and found.matched == 1
    again = cluster_anchors(sizes((12, 9), (30, 60), (400, 300)), 3, seed=1)
    assert (again.sizes == found.sizes).all()


def test_more_anchors_fit_better_and_the_elbow_is_the_count_of_sizes() -> None:
    boxes = sizes((12, 9), (30, 60), (400, 300), (90, 90))
    fits = [cluster_anchors(boxes, count).mean_iou for count in range(1, 10)]
    assert all(later > earlier - 0.01 for earlier, later in pairwise(fits))
    assert elbow(fits) + 1 == 4


def test_no_more_anchors_than_sizes_and_very_many_boxes_are_sampled() -> None:
    assert cluster_anchors(np.full((50, 2), 8.0), 5).sizes.tolist() == [[8, 8]]
    assert cluster_anchors(np.array([[3.0, 4.0]]), 9).mean_iou == 1
    many = cluster_anchors(sizes((12, 9), (30, 60), each=40_000), 2)
    assert many.sizes == pytest.approx(np.array([[12, 9], [30, 60]]), rel=0.03)


def test_an_elbow_of_few_or_flat_curves() -> None:
    assert [elbow([0.5]), elbow([0.5, 0.7]), elbow([0.5, 0.5, 0.5]), elbow([0.2, 0.9, 0.95, 0.96])] == [0, 1, 0, 1]


def test_levels_of_a_pyramid() -> None:
    boxes = np.array([[1, 1], [16, 16], [22, 22], [23, 23], [16, 64], [64, 64], [130, 130], [4000, 4000]], float)
    assert pyramid_level(boxes).tolist() == [2, 2, 2, 3, 3, 4, 5, 7]
