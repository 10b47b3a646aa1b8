"""Augmented pictures keep picture and labels together, and follow from the seed alone."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.kinds.segmentation.augmentation import augment
from tasks.kinds.segmentation.plan import AugmentationPlan
from tests.kinds.segmentation.test_pictures import section

NOTHING = AugmentationPlan(
    flip=False, turn=False, degrees=0, scale=0, brightness=0, contrast=0, gamma=0, blur=0, noise=0, stain=0, invert=0
)
GEOMETRY = NOTHING.model_copy(update={"flip": True, "turn": True, "degrees": 180.0, "scale": 0.3})


def cells(height: int = 60, width: int = 80) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Discs whose brightness says their number: brightness = number / 10."""
    rows, columns = np.mgrid[:height, :width]
    labels = np.zeros((height, width), np.int32)
    for number, (y, x) in enumerate([(15, 15), (15, 60), (42, 35), (45, 68)], 1):
        labels[(rows - y) ** 2 + (columns - x) ** 2 <= 81] = number
    return np.repeat((labels / 10).astype(np.float32)[:, :, None], 3, axis=2), labels


@pytest.mark.parametrize("side", [32, 64, 96])
def test_labels_move_with_the_picture(side: int) -> None:
    picture, labels = cells()
    for seed in range(8):
        shown, numbers = augment(picture, labels, GEOMETRY, np.random.default_rng(seed), side)
        assert shown.shape == (side, side, 3)
        assert numbers.shape == (side, side)
        assert set(np.unique(numbers)) <= set(range(5))
        away = np.abs(shown[:, :, 0] - numbers / 10) > 0.02
        values, square = numbers.astype(np.float32), np.ones((5, 5), np.uint8)
        rims = cv2.dilate(values, square) != cv2.erode(values, square)  # where pixels are interpolated
        assert not (away & ~rims)[2:-2, 2:-2].any()


def test_a_plain_crop_is_the_picture_pixel_for_pixel() -> None:
    picture, labels = cells()
    shown, numbers = augment(picture, labels, AugmentationPlan(on=False), np.random.default_rng(1), 32)
    assert np.array_equal(shown[:, :, 0], (numbers / 10).astype(np.float32))
    places = [(y, x) for y in range(29) for x in range(49) if np.array_equal(labels[y : y + 32, x : x + 32], numbers)]
    assert places
    small, small_labels = picture[:20, :24], labels[:20, :24]
    shown, numbers = augment(small, small_labels, NOTHING, np.random.default_rng(2), 64)
    assert (numbers > 0).sum() == (small_labels > 0).sum()
    assert np.array_equal(
        shown[:, :, 0] > 0, (numbers > 0) | (shown[:, :, 0] == np.median(small)) & (shown[:, :, 0] > 0)
    )


def test_the_same_seed_gives_the_same_picture_and_another_another() -> None:
    picture, labels = cells()
    plan = AugmentationPlan(blur=0.5, invert=0.5)
    first, second, other = (augment(picture, labels, plan, np.random.default_rng(seed), 48) for seed in (5, 5, 6))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[1], other[1])


@pytest.mark.parametrize(
    "change", [{"brightness": 0.3}, {"contrast": 0.5}, {"gamma": 0.8}, {"blur": 1.0}, {"noise": 0.1}, {"invert": 1.0}]
)
def test_light_changes_the_picture_and_no_label(change: dict[str, Any]) -> None:
    picture, labels = cells(64, 64)
    plan = NOTHING.model_copy(update=change)
    shown, numbers = augment(picture, labels, plan, np.random.default_rng(3), 64)
    assert np.array_equal(numbers, labels)
    assert np.abs(shown - picture).max() > 0.01


def test_stains_vary_where_there_are_any() -> None:
    plan = NOTHING.model_copy(update={"stain": 0.5})
    stained = section().astype(np.float32) / 255
    labels = np.zeros((64, 64), np.int32)
    assert np.abs(augment(stained, labels, plan, np.random.default_rng(0), 64)[0] - stained).mean() > 0.01
    picture, labels = cells(64, 64)
    assert np.array_equal(augment(picture, labels, plan, np.random.default_rng(0), 64)[0], picture)


def test_what_does_not_belong_together_is_refused() -> None:
    picture, labels = cells()
    with pytest.raises(ValueError, match="do not belong together"):
        augment(picture, labels[1:], GEOMETRY, np.random.default_rng(0), 32)
