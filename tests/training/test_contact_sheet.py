"""A contact sheet is small, shows pictures with their boxes, and says what is what."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tasks.training.contact_sheet import MOST_BYTES, PICTURES, Picture, contact_sheet, file_name


def pictures(count: int, height: int, width: int, *, noise: bool = False) -> list[Picture]:
    random = np.random.default_rng(0)
    image = random.integers(0, 255 if noise else 1, (height, width, 3), dtype=np.uint8)
    boxes = np.array([[width * 0.25, height * 0.25, width * 0.75, height * 0.75]])
    return [Picture(image, boxes, np.array([index % 2])) for index in range(count)]


def decoded(jpeg: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))


def test_it_is_small_whatever_is_on_it() -> None:
    for count, height, width in ((16, 1024, 1024), (40, 480, 640), (1, 64, 64)):
        jpeg = contact_sheet(pictures(count, height, width, noise=True), ["sperm", "impurity"])
        assert jpeg.startswith(b"\xff\xd8\xff") and len(jpeg) <= MOST_BYTES
        assert decoded(jpeg).shape[1] > 600, "and large enough to see something"


def test_pictures_stand_four_in_a_row_with_their_boxes() -> None:
    sheet = decoded(contact_sheet(pictures(PICTURES + 3, 320, 320), ["sperm", "impurity"]))
    assert sheet.shape == (4 * 324 + 30, 4 * 324 - 4, 3)
    for place in range(PICTURES):
        top, left = place // 4 * 324, place % 4 * 324
        tile = sheet[top : top + 320, left : left + 320].astype(int)
        assert tile[80, 100:220].max(axis=1).min() > 60, "the box's upper edge"
        assert tile[160, 160].max() < 40 and tile[40, 160].max() < 40, "black within and without"
        red, green = tile[80, 100:220, 2].mean(), tile[80, 100:220, 1].mean()
        assert (red > green) == (place % 2 == 0), "each class has its colour"


def test_small_pictures_are_enlarged_and_upright_ones_stay_upright() -> None:
    assert decoded(contact_sheet(pictures(1, 64, 64), ["a"])).shape[0] == 324 + 30
    assert decoded(contact_sheet(pictures(2, 640, 320), ["a", "b"])).shape[0] == 324 + 30


def test_classes_of_any_name_and_pictures_without_boxes() -> None:
    empty = Picture(np.zeros((40, 60, 3), np.uint8), np.zeros((0, 4)), np.zeros(0, np.int64))
    sheet = decoded(contact_sheet([empty], ["Köpfe 頭", "x" * 300]))
    assert sheet[-25:, :200].min() < 120, "a legend"


@pytest.mark.parametrize(
    ("stage", "stages", "name"), [(1, 1, "contact_sheet.jpg"), (2, 3, "contact_sheet_stage_02.jpg")]
)
def test_names_sort_by_stage(stage: int, stages: int, name: str) -> None:
    assert file_name(stage, stages) == name
