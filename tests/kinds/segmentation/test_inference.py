"""A picture looked at in tiles has the cells that it has as a whole; every cell once, none sharing a pixel."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tasks.kinds.segmentation.inference import disjoint as apart
from tasks.kinds.segmentation.inference.disjoint import disjoint, run_lengths
from tasks.kinds.segmentation.inference.pieces import Piece, pasted_mask
from tasks.kinds.segmentation.inference.predict import fill_boxes, predict_picture
from tasks.kinds.segmentation.inference.tiles import tiles_of
from tasks.kinds.segmentation.instances import Instances
from tasks.kinds.segmentation.networks.raw import RawInstances, no_instances
from tasks.kinds.segmentation.plan import InputPlan
from tasks.metrics import masks


class Threshold:
    """A network that finds what is bright: each part that hangs together is a cell, scored by its brightness."""

    calls = 0

    def raw_instances(self, tiles: torch.Tensor, min_score: float) -> list[RawInstances]:
        """One cell for each bright part."""
        self.calls += 1
        assert tiles.shape[2] % 32 == 0 and tiles.shape[3] % 32 == 0
        return [self._of(tile[0].numpy(), min_score) for tile in tiles]

    def fill(self, tiles: torch.Tensor, boxes: list[torch.Tensor]) -> list[RawInstances]:
        """What is bright in each box."""
        filled = []
        for tile, own in zip(tiles, boxes, strict=True):
            found = []
            for x1, y1, x2, y2 in own.round().long().tolist():
                bright = torch.zeros_like(tile[0])
                bright[max(0, y1) : y2, max(0, x1) : x2] = (tile[0] > 0.25)[max(0, y1) : y2, max(0, x1) : x2].float()
                found.append(_raw(bright.numpy() > 0, 1.0, (x1, y1, x2 - x1, y2 - y1)))
            filled.append(_together(found))
        return filled

    def _of(self, tile: NDArray[np.float32], min_score: float) -> RawInstances:
        count, parts, about, _ = cv2.connectedComponentsWithStats((tile > 0.25).astype(np.uint8), connectivity=4)
        found = []
        for number in range(1, count):
            mask = parts == number
            score = float(np.round(np.median(tile[mask]), 4))
            if score >= min_score:
                found.append(_raw(mask, score, tuple(about[number, :4])))
        return _together(sorted(found, key=lambda raw: -raw.scores[0]))


def _raw(mask: NDArray[np.bool_], score: float, box: Any) -> RawInstances:
    """A mask on a grid of exactly its window's pixels, so that nothing is interpolated."""
    x, y, width, height = (int(value) for value in box)
    side = 2 + max(width, height)  # with ground at the edges, which are taken to go on beyond
    grid = np.zeros((side, side), np.float32)
    part = mask[max(0, y) : y + height, max(0, x) : x + width]
    grid[max(0, -y) : max(0, -y) + part.shape[0], max(0, -x) : max(0, -x) + part.shape[1]] = part
    return RawInstances(
        torch.tensor([[x, y, x + width, y + height]]).float(), torch.tensor([score]), torch.tensor([0]),
        torch.tensor([[x - 1, y - 1, x - 1 + side, y - 1 + side]]), torch.from_numpy(np.roll(grid, 1, (0, 1)))[None],
    )  # fmt: skip


def _together(found: list[RawInstances]) -> RawInstances:
    if not found:
        return no_instances()
    boxes, scores, labels, windows = (
        torch.cat([getattr(raw, name) for raw in found]) for name in ("boxes_px", "scores", "labels", "windows")
    )
    side = max(raw.masks.shape[1] for raw in found)
    grids = [torch.nn.functional.pad(raw.masks, (0, side - raw.masks.shape[1]) * 2) for raw in found]
    windows[:, 2:] = windows[:, :2] + side
    return RawInstances(boxes, scores, labels, windows, torch.cat(grids))


def spec(**changes: Any) -> dict[str, Any]:
    plan = InputPlan(normalise="fixed", **changes)
    return {"model": "fake", "classes": ["cell"], "input": plan.model_dump(mode="json"), "min_score": 0.0}


def picture_of_cells(height: int, width: int, seed: int = 0, large: bool = False) -> NDArray[np.uint8]:
    """Discs that do not touch, each of its own brightness, many of them on the tiles' borders and the picture's."""
    rng = np.random.default_rng(seed)
    out = np.zeros((height, width), np.uint8)
    free = np.ones((height, width), np.uint8)
    for _ in range(height * width // 500):
        radius = int(rng.integers(3, 9))
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        around = np.zeros_like(free)
        cv2.circle(around, (x, y), radius + 2, 1, -1)
        if (free[around > 0]).all():
            cv2.circle(out, (x, y), radius, int(rng.integers(80, 255)), -1)
            free[around > 0] = 0
    if large:
        cv2.circle(out, (width // 2, height // 2), 57, 0, -1)
        cv2.circle(out, (width // 2, height // 2), 55, 200, -1)
    return out[:, :, None]


def cells_of(found: Instances) -> dict[str, float]:
    return dict(zip(found.masks, found.scores.round(3).tolist(), strict=True))


def overlap_of(found: Instances) -> int:
    total = np.zeros((found.height_px, found.width_px), np.int64)
    for mask in found.masks:
        total += masks.decode(mask, found.height_px, found.width_px)
    return int(total.max(initial=0))


@pytest.mark.parametrize(("height", "width"), [(150, 230), (64, 200), (99, 131)])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_tiles_give_the_cells_of_the_whole(height: int, width: int, scale: float) -> None:
    picture = picture_of_cells(height, width)
    network = Threshold()
    side = 64 if scale == 1 else 96
    whole = predict_picture(network, spec(imgsz=512, scale=scale), picture)
    tiled = predict_picture(network, spec(imgsz=side, scale=scale), picture, overlap=0.45)
    assert len(whole) > 10
    assert cells_of(tiled) == cells_of(whole)
    assert overlap_of(tiled) == 1
    assert list(tiled.scores) == sorted(tiled.scores, reverse=True)
    if scale == 1:
        expected = (picture[:, :, 0] > 0.25 * 255).sum()
        assert sum(masks.areas([masks.as_coco(mask, height, width) for mask in whole.masks])) == pytest.approx(
            expected, abs=30
        )


def test_a_cell_larger_than_the_overlap_is_put_together() -> None:
    picture = picture_of_cells(180, 200, large=True)
    whole = predict_picture(Threshold(), spec(imgsz=512), picture)
    tiled = predict_picture(Threshold(), spec(imgsz=96), picture, overlap=0.3)
    assert cells_of(tiled).keys() == cells_of(whole).keys()
    biggest = max(masks.areas([masks.as_coco(mask, 180, 200) for mask in tiled.masks]))
    assert biggest > 3.1 * 54**2


def test_low_scores_are_left_out_and_sure_cells_stay_as_they_are() -> None:
    picture = picture_of_cells(120, 120)
    everything = predict_picture(Threshold(), spec(imgsz=64), picture)
    sure = predict_picture(Threshold(), spec(imgsz=64), picture, 0.7)
    kept = everything.scores >= 0.7
    assert 0 < len(sure) < len(everything)
    assert sure.masks == tuple(mask for mask, keep in zip(everything.masks, kept, strict=True) if keep)
    nothing = predict_picture(Threshold(), spec(), np.zeros((40, 40, 1), np.uint8))
    assert len(nothing) == 0
    assert nothing.boxes_px.shape == (0, 4)


@pytest.mark.parametrize(("length", "side", "overlap"), [(10, 64, 16), (64, 64, 16), (65, 64, 16), (1000, 96, 40)])
def test_tiles_cover_everything_and_cores_share_nothing(length: int, side: int, overlap: int) -> None:
    tiles = tiles_of(length, 32, side, overlap)
    edges = [(tile.core[1], tile.core[3]) for tile in tiles]
    assert edges[0][0] == 0
    assert edges[-1][1] == length
    assert all(first[1] == second[0] for first, second in pairwise(edges))
    assert all(first.y + side - second.y >= overlap for first, second in pairwise(tiles))
    assert all(tile.height % 32 == 0 and (tile.y + tile.height <= max(length, 32) or len(tiles) == 1) for tile in tiles)
    assert tiles[-1].y + tiles[-1].height >= length


def test_memory_grows_with_the_picture_and_not_with_its_cells() -> None:
    """Full masks of all cells would take cells x pixels, eight times the limit."""
    picture = np.zeros((240, 320, 1), np.uint8)
    picture[4::12, 4::12] = picture[5::12, 4::12] = picture[4::12, 5::12] = picture[5::12, 5::12] = 200
    network = Threshold()
    tracemalloc.start()
    found = predict_picture(network, spec(imgsz=128), picture)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 20 * 27
    assert peak < len(found) * picture.size / 8


def piece(x: int, y: int, mask: Any, score: float) -> Piece:
    whole = np.asarray(mask, dtype=np.bool_)
    return Piece(x=x, y=y, mask=whole, score=score, label=0, box_px=np.zeros(4), seen=((0, 0, 99, 99),))


def test_cells_share_no_pixel_and_are_whole() -> None:
    ring = np.ones((9, 9))
    ring[3:6, 3:6] = 0
    crumbs = np.zeros((9, 9))
    crumbs[:4, :4] = 1
    crumbs[8, 8] = 1
    found = disjoint(
        [piece(0, 0, ring, 0.9), piece(6, 0, np.ones((9, 9)), 0.8), piece(1, 1, np.ones((9, 9)), 0.7),
         piece(20, 20, crumbs, 0.6), piece(30, 30, np.ones((1, 3)), 0.5)], 40, 40,
    )  # fmt: skip
    assert [(each.x, each.y, each.area) for each in found] == [(0, 0, 81), (9, 0, 54), (20, 20, 16)]
    assert apart.MIN_AREA_PX == 4


def test_run_lengths_are_those_of_the_whole_mask() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = rng.integers(1, 12, 2)
        h, w = rng.integers(1, height + 1), rng.integers(1, width + 1)
        y, x = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
        mask = rng.random((h, w)) < rng.choice([0.3, 0.8, 1.0])
        if not mask.any():
            continue
        full = np.zeros((height, width), np.uint8)
        full[y : y + h, x : x + w] = mask
        (found,) = run_lengths([piece(int(x), int(y), mask, 1.0)], int(height), int(width))
        assert found == masks.encode(full)
        masks.check_counts(found, int(height), int(width))


def test_a_window_is_pasted_as_torch_interpolates_it() -> None:
    rng = np.random.default_rng(1)
    chances = cv2.GaussianBlur(rng.random((16, 16)).astype(np.float32), (0, 0), 2)
    chances = (chances - chances.min()) / np.ptp(chances)
    whole = torch.nn.functional.interpolate(torch.from_numpy(chances)[None, None], (33, 47), mode="bilinear")[0, 0]
    x, y, mask = pasted_mask(chances, np.array([-5, 3, 42, 36]), 1.0, (0, 0, 60, 60)) or (0, 0, np.zeros((1, 1)))
    full = np.zeros((60, 60), np.bool_)
    full[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    expected = whole.numpy()[:, 5:] > 0.5
    assert (full[3:36, :42] != expected).mean() < 0.01  # OpenCV places pixels to 1/32
    assert pasted_mask(chances, np.array([70, 70, 90, 90]), 1.0, (0, 0, 60, 60)) is None


def test_boxes_are_filled_in_their_order() -> None:
    picture = picture_of_cells(150, 230)
    network = Threshold()
    found = predict_picture(network, spec(imgsz=512), picture)
    order = np.random.default_rng(0).permutation(len(found))
    nothing = np.array([[0.0, 0.0, 1.0, 1.0]])
    boxes = np.concatenate([found.boxes_px[order], nothing])
    picture[0, 0] = 0
    for side in (512, 64):
        filled = fill_boxes(network, spec(imgsz=side), picture, boxes)
        assert filled == [*(found.masks[place] for place in order), None]
    large = picture_of_cells(180, 200, large=True)
    whole = predict_picture(network, spec(imgsz=512), large)
    assert fill_boxes(network, spec(imgsz=64), large, whole.boxes_px) == list(whole.masks)


def test_what_cannot_be_filled_is_refused() -> None:
    picture = picture_of_cells(40, 40)
    with pytest.raises(ValueError, match="cannot fill boxes"):
        fill_boxes(object(), spec(), picture, np.array([[0, 0, 9, 9]]))
    with pytest.raises(ValueError, match="finite"):
        fill_boxes(Threshold(), spec(), picture, np.array([[0, 0, np.nan, 9]]))
    assert fill_boxes(Threshold(), spec(), picture, np.array([[5, 5, 5, 9], [9, 9, 2, 2]])) == [None, None]
    assert fill_boxes(Threshold(), spec(), picture, np.zeros((0, 4))) == []
