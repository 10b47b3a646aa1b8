"""Outlines of masks and how near they lie, against plain definitions; run lengths painted to the pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from skimage.segmentation import find_boundaries

from tasks.metrics.masks import areas, as_coco, encode
from tasks.metrics.segmentation import judge
from tasks.metrics.segmentation_masks import Masks, overlaps
from tasks.metrics.segmentation_outlines import TOLERANCE_PX, outline_hits, outlines, painted, pixels_of
from tests.metrics.cells import scene


@pytest.mark.parametrize("seed", range(4))
def test_hits_are_the_pixels_within_the_tolerance(seed: int) -> None:
    some = scene(seed)
    hits = outline_hits(*some.masks())
    for number, (truth, found) in enumerate(zip(some.truth, some.predicted, strict=True)):
        true, mine = (np.argwhere(find_boundaries(each, mode="inner")) for each in (truth, found))
        apart = cdist(mine, true) if len(mine) and len(true) else np.full((len(mine), len(true)), np.inf)
        near, hit = ((apart <= TOLERANCE_PX).any(axis=axis).sum() if apart.size else 0 for axis in (1, 0))
        assert (hits.near_truth[number], hits.predicted[number]) == (near, len(mine))
        assert (hits.near_prediction[number], hits.true[number]) == (hit, len(true))


def test_boundary_f_by_hand() -> None:
    """A square, moved by 4 px: its two far sides and the ends of the others lie too far off."""
    truth, found = np.zeros((2, 40, 40), dtype=np.bool_)
    truth[8:24, 8:24] = True
    found[8:24, 12:28] = True
    kept = [Masks.of([0], [0], [encode(mask)], [[40, 40]], [1.0]) for mask in (found, truth)]
    value = judge(*kept, classes=("cell",), score_threshold=0.0).statistic(np.ones((1, 1), dtype=np.int64))
    # Of 60 pixels: top and bottom, to 2 px beyond the other square; of the side within it, those near a corner.
    assert value[("boundary_F",)][0] == pytest.approx((2 * (12 + 2) + 2 * 2) / 60)


def test_an_outline_lies_between_cells_that_touch_and_not_at_the_pictures_edge() -> None:
    labels = np.zeros((6, 8), dtype=np.int32)
    labels[:3, :4], labels[:3, 4:7] = 1, 2
    expected = np.zeros((6, 8), dtype=np.bool_)
    expected[2, :7] = expected[:3, 3] = expected[:3, 4] = expected[:3, 6] = True
    assert np.array_equal(outlines(labels), expected)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), height=st.integers(1, 20), width=st.integers(1, 20), share=st.floats(0, 1))
def test_run_lengths_are_painted_to_the_pixel(seed: int, height: int, width: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    rows, columns = pixels_of(encode(mask), height)
    back = np.zeros_like(mask)
    back[rows, columns] = True
    assert len(rows) == mask.sum() and np.array_equal(back, mask)
    assert np.array_equal(painted([encode(np.ones_like(mask)), encode(mask)], height, width), np.where(mask, 2, 1))


def test_overlaps_know_the_pixels_that_masks_share() -> None:
    predictions, truth = scene(2, images=4, cells=12).masks()
    found = overlaps(predictions, truth)
    seen = {(int(d), int(g)): (int(shared), float(iou)) for d, g, shared, iou in
            zip(found.prediction, found.truth, found.shared, found.iou, strict=True)}  # fmt: skip
    for d in range(len(predictions.image)):
        for g in np.flatnonzero(truth.image == predictions.image[d]).tolist():
            size = tuple(truth.size_px[truth.image[g]].tolist())
            both = painted([predictions.counts[d]], *size) & painted([truth.counts[g]], *size)
            shared, united = int(both.sum()), predictions.area[d] + truth.area[g] - both.sum()
            assert seen.pop((d, g), (0, 0.0)) == (shared, pytest.approx(shared / united, abs=1e-12))
    assert not seen


def test_areas_of_more_masks_than_pycocotools_takes_at_once() -> None:
    eyes = [as_coco(encode(np.eye(30) * (np.arange(30) < 1 + n % 30)), 30, 30) for n in range(700)]
    assert areas(eyes).tolist() == [1 + n % 30 for n in range(700)] and areas([]).tolist() == []
