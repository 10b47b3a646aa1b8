"""Looking more than once, with detectors made by hand: they find what is bright, if it is large enough for them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest

from tasks.kinds.detection.views import VIEWS, Boxes, find_objects, suppressed, tiles

IMGSZ = 96


def bright(images: Sequence[Any], imgsz: int, conf: float) -> list[Boxes]:
    """A detector that scales to `imgsz` and sees connected bright pixels, from four of them on."""
    found = []
    for image in images:
        scale = imgsz / max(image.shape[:2])
        small = cv2.resize(image[..., 0], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        boxes = []
        for x, y, w, h, area in cv2.connectedComponentsWithStats((small > 100).astype(np.uint8))[2][1:]:
            if area >= 4:
                score = min(0.99, 0.3 + area / 1000)
                boxes.append([x / scale, y / scale, (x + w) / scale, (y + h) / scale, score, 0])
        sorted_boxes = sorted((box for box in boxes if box[4] >= conf), key=lambda box: -box[4])
        found.append(np.array(sorted_boxes, np.float32).reshape(-1, 6))
    return found


def look(image: Any, find: Any = bright, **options: Any) -> Boxes:
    usual: dict[str, Any] = {"imgsz": IMGSZ, "conf": 0.25, "iou": 0.6, "max_det": 300}
    (boxes,) = find_objects(find, [image], **{**usual, **options})
    return boxes


def scene(height: int, width: int, *rectangles: tuple[int, int, int, int]) -> Any:
    image = np.zeros((height, width, 3), np.uint8)
    for x, y, w, h in rectangles:
        image[y : y + h, x : x + w] = 250
    return image


def test_plain_options_are_one_plain_pass() -> None:
    passes = []

    def find(images: Sequence[Any], imgsz: int, conf: float) -> list[Boxes]:
        passes.append((len(images), imgsz, conf))
        return bright(images, imgsz, conf)

    assert len(look(scene(96, 96, (10, 10, 12, 12)), find)) == 1
    assert passes == [(1, IMGSZ, 0.25)]


@pytest.mark.parametrize(
    ("height", "width", "slice_px", "overlap"), [(96, 96, 96, 0.2), (100, 333, 96, 0.25), (540, 720, 96, 0.0)]
)
def test_tiles_cover_the_image_and_overlap_enough(height: int, width: int, slice_px: int, overlap: float) -> None:
    corners = tiles(height, width, slice_px, overlap)
    seen = np.zeros((height, width), int)
    for x, y in corners:
        assert 0 <= x <= max(0, width - slice_px) and 0 <= y <= max(0, height - slice_px)
        seen[y : y + slice_px, x : x + slice_px] += 1
    assert seen.min() >= 1
    columns = sorted({x for x, _ in corners})
    assert all(b - a <= slice_px * (1 - overlap) + 1 for a, b in itertools.pairwise(columns))


def test_an_image_that_fits_into_a_tile_is_looked_at_once() -> None:
    def find(images: Sequence[Any], imgsz: int, conf: float) -> list[Boxes]:
        assert len(images) == 1
        return bright(images, imgsz, conf)

    image = scene(60, 90, (10, 10, 12, 12))
    np.testing.assert_array_equal(look(image, find, slice_px=96), look(image, find))


def test_slicing_finds_small_objects_that_downscaling_loses() -> None:
    spots = [(x, y, 6, 6) for x in range(20, 700, 61) for y in range(20, 500, 83)]
    image = scene(540, 720, *spots)
    assert len(look(image)) == 0
    found = look(image, slice_px=96)
    assert len(found) == len(spots)
    expected = sorted((x, y, x + 6, y + 6) for x, y, _, _ in spots)
    np.testing.assert_allclose(sorted(map(tuple, found[:, :4].tolist())), expected, atol=1.01)


def test_an_object_on_a_tiles_border_is_found_once_and_whole() -> None:
    edges = sorted({x for x, _ in tiles(96, 240, 96, 0.25)} | {x + 96 for x, _ in tiles(96, 240, 96, 0.25)})
    for edge in edges[1:-1]:
        for shift in range(-10, 1, 2):
            image = scene(96, 240, (edge + shift, 40, 10, 10))
            found = look(image, slice_px=96, slice_overlap=0.25, imgsz=96)
            assert len(found) == 1, (edge, shift, found)
            np.testing.assert_allclose(found[0, :4], [edge + shift, 40, edge + shift + 10, 50], atol=2.6)


def test_an_object_larger_than_a_tile_is_found_once_and_whole() -> None:
    found = look(scene(300, 300, (50, 40, 200, 190)), slice_px=96)
    assert len(found) == 1
    np.testing.assert_allclose(found[0, :4], [50, 40, 250, 230], atol=4)


def test_what_nobody_saw_whole_is_joined() -> None:
    def nothing_small_scale(images: Sequence[Any], imgsz: int, conf: float) -> list[Boxes]:
        return [np.zeros((0, 6), np.float32)] if images[0].shape[1] > 96 else bright(images, imgsz, conf)

    image = scene(96, 168, (60, 40, 50, 12))  # tiles at 0 and 72, of 96: one sees 60 to 96, the other 72 to 110
    found = look(image, nothing_small_scale, slice_px=96, slice_overlap=0.2)
    assert len(found) == 1
    np.testing.assert_allclose(found[0, :4], [60, 40, 110, 52], atol=1)


def test_close_neighbours_stay_two_objects() -> None:
    """Two overlapping objects in the overlap of two tiles: each pass sees both, so there are two."""
    pair = np.array([[76, 40, 88, 52, 0.9, 0], [81, 40, 93, 52, 0.8, 0]], np.float32)

    def find(images: Sequence[Any], imgsz: int, conf: float) -> list[Boxes]:
        starts = [0] if len(images) == 1 else [x for x, _ in tiles(96, 168, 96, 0.3)]
        return [pair - np.array([x, 0, x, 0, 0, 0], np.float32) for x in starts]

    found = look(np.zeros((96, 168, 3), np.uint8), find, slice_px=96, slice_overlap=0.3)
    np.testing.assert_allclose(found[:, :4], pair[:, :4])


def test_views_are_turned_back_and_agree() -> None:
    image = scene(64, 96, (10, 5, 20, 12), (60, 40, 12, 20))
    plain, several = look(image), look(image, tta=True)
    assert len(several) == 2
    np.testing.assert_allclose(several[np.argsort(several[:, 0]), :4], plain[np.argsort(plain[:, 0]), :4], atol=1.5)


def test_a_box_is_the_weighted_mean_of_the_views_and_its_score_counts_the_views_that_missed_it() -> None:
    calls: list[Boxes] = [
        np.array([[10, 10, 20, 20, 0.8, 0]], np.float32),
        np.array([[100 - 22, 10, 100 - 12, 20, 0.4, 0]], np.float32),  # mirrored: 12 to 22
        np.zeros((0, 6), np.float32),
        np.zeros((0, 6), np.float32),
    ]
    order = iter(calls)
    assert len(VIEWS) == 4
    (box,) = look(
        np.zeros((100, 100, 3), np.uint8), lambda images, imgsz, conf: [next(order) for _ in images], tta=True, conf=0.2
    )
    np.testing.assert_allclose(box, [10 + 2 / 3, 10, 20 + 2 / 3, 20, 0.3, 0], atol=1e-5)


def test_classes_are_never_merged() -> None:
    boxes = np.array([[27, 27, 37, 37, 0.8, 0], [27, 27, 37, 37, 0.7, 1]], np.float32)
    found = look(np.zeros((64, 64, 3), np.uint8), lambda images, *_: [boxes.copy() for _ in images], tta=True, imgsz=64)
    assert sorted(found[:, 5].tolist()) == [0, 1]


def test_limits_hold_after_merging() -> None:
    spots = [(x, 20, 6, 6) for x in range(10, 300, 20)]
    found = look(scene(96, 320, *spots), slice_px=96, max_det=5)
    assert len(found) == 5
    assert (np.diff(found[:, 4]) <= 0).all()
    assert len(look(scene(96, 320, *spots), slice_px=96, conf=0.9)) == 0
    assert len(look(np.zeros((96, 320, 3), np.uint8), slice_px=96, tta=True)) == 0


def test_suppression_drops_the_weaker_of_two_of_a_class() -> None:
    boxes = np.array([[0, 0, 10, 10, 0.9, 0], [1, 0, 11, 10, 0.8, 0], [1, 0, 11, 10, 0.7, 1]], np.float32)
    np.testing.assert_array_equal(suppressed(boxes, 0.6), boxes[[0, 2]])
    np.testing.assert_array_equal(suppressed(boxes, 0.9), boxes)
