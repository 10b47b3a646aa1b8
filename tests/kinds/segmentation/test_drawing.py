"""Cells drawn as outlines: where they are, and how they fared."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import polygon2mask

from tasks.kinds.segmentation.drawing import polygons, views
from tasks.kinds.segmentation.metrics import judge, tabulate
from tasks.metrics.masks import encode
from tests.kinds.segmentation.measured import HEIGHT, a_line, instances, rectangle, row

CELLS = [("cell", (2, 2, 10, 10)), ("cell", (2, 20, 10, 10)), ("debris", (25, 5, 8, 8)), ("cell", (25, 30, 8, 8))]


def test_cells_are_right_wrong_or_missed() -> None:
    line, frames = a_line(evaluation={"score_threshold": 0.5}), [row(0, []), row(1, CELLS)]
    output = instances(
        (0, 0.9, (2, 2, 10, 9)), (0, 0.8, (25, 5, 8, 8)), (1, 0.7, (12, 45, 6, 6)), (0, 0.3, (25, 30, 8, 8))
    )
    table = tabulate([instances(), output], frames, ("cell", "debris"), line)
    judgement = judge(table, frames, line)
    view, empty = views(table, frames, line, judgement, [1, 0])
    assert [(shape.label, shape.state, shape.score) for shape in view.predicted] == [
        ("cell", "right", 0.9), ("cell", "wrong", 0.8), ("debris", "wrong", 0.7),
    ]  # fmt: skip
    assert [(shape.label, shape.state) for shape in view.labelled] == [
        ("cell", "right"), ("cell", "missed"), ("debris", "wrong"), ("cell", "missed"),
    ]  # fmt: skip
    assert (view.errors, view.recording_name, empty.labelled, empty.errors) == (4, "slide-1.png", (), 0)
    x, y = (sorted({point[axis] for point in view.predicted[0].points}) for axis in (0, 1))
    assert x == [2.5, 10.5] and y == [2.5, 11.5], "the middles of the outermost pixels"


def test_each_piece_of_a_cell_is_drawn_and_single_pixels_can_be_seen() -> None:
    mask = rectangle(5, 5, 10, 10) | rectangle(20, 30, 1, 1) | rectangle(30, 10, 1, 4)
    large, *small = polygons(encode(mask), HEIGHT)
    assert len(large) == 4 and (30.0, 20.0) in small[0] + small[1] and (31.0, 21.0) in small[0] + small[1]
    assert (10.0, 30.0) in small[0] + small[1] and (14.0, 31.0) in small[0] + small[1]
    assert polygons(encode(np.zeros((HEIGHT, 60))), HEIGHT) == []


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_drawn_outline_lies_on_the_masks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :60]
    mask = ((y - rng.uniform(5, 35)) / rng.uniform(4, 12)) ** 2 + (
        (x - rng.uniform(5, 55)) / rng.uniform(4, 15)
    ) ** 2 < 1
    (outline,) = polygons(encode(mask), 40, exact_px=0.5)
    points = np.array([(py - 0.5, px - 0.5) for px, py in outline])
    drawn = polygon2mask((40, 60), points) | np.isin(
        np.arange(2400).reshape(40, 60), [int(a) * 60 + int(b) for a, b in points]
    )
    apart = (drawn ^ mask).sum()
    assert apart <= 0.5 * len(np.argwhere(mask)) ** 0.5 * 4, "less than half a pixel all around"
    exact = np.array([(py - 0.5, px - 0.5) for px, py in polygons(encode(mask), 40)[0]])
    assert all(mask[int(a), int(b)] for a, b in exact)
