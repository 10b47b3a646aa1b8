"""What the exploration report has of labelled cells."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tasks.kinds.segmentation.exploration import features, sections
from tests.kinds.segmentation.measured import HEIGHT, WIDTH, Rectangle, a_line, row

WAITING = {"label": "cell", "x_px": 1.0, "y_px": 1.0, "width_px": 5.0, "height_px": 5.0, "to_fill": True}


def rows() -> list[dict[str, Any]]:
    """Two cells that touch, one at the border, one alone; and a picture without any."""
    first: list[tuple[str, Rectangle]] = [
        ("cell", (2, 2, 10, 10)), ("cell", (2, 12, 10, 10)), ("cell", (30, 50, 10, 10)), ("cell", (20, 20, 4, 4)),
    ]  # fmt: skip
    made = [row(0, first, split="train"), row(1, [], WAITING, split="train"), row(2, first[:1], split="test")]
    return [{**each, "objects": json.loads(each["objects"])} for each in made]


def test_sizes_borders_and_neighbours_are_counted() -> None:
    _, sizes, _ = sections(rows(), np.zeros((3, 0), np.float32), a_line())
    cell, debris = sizes.rows
    assert cell == ("cell", "5", "100 (33 to 100)", "11 (6 to 11)", "20%", "40%", "20%")
    assert debris[:2] == ("debris", "0")
    assert len(cell) == len(sizes.columns) and sizes.histograms[0].counts.keys() == {"cell"}
    assert sum(sizes.histograms[0].counts["cell"]) == 5


def test_counts_and_covered_area_by_split() -> None:
    *_, counts = sections(rows(), np.zeros((3, 0), np.float32), a_line())
    covered = 316 / (HEIGHT * WIDTH) / 2
    assert counts.rows == (
        ("train", "2.0", "0.0", "4", "50%", f"{covered:.0%}", "1"), ("test", "1.0", "0.0", "1", "0%", "4%", "0"),
    )  # fmt: skip
    assert [plot.counts.keys() for plot in counts.histograms] == [{"train", "test"}] * 2


def test_samples_are_the_same_again_and_show_what_is_around() -> None:
    samples, *_ = sections(rows(), np.zeros((3, 0), np.float32), a_line())
    assert samples == sections(rows(), np.zeros((3, 0), np.float32), a_line())[0]
    assert len(samples.frames) == 5 and (-2.0, -2.0, 18.0, 18.0) in [one.box_px for one in samples.frames]


def test_a_dataset_without_cells_has_sections_all_the_same() -> None:
    empty = [each for each in rows() if not each["objects"]] + [{**rows()[1], "objects": []}]
    found = sections(empty, features(np.zeros((1, 96, 96, 3), np.uint8)), a_line())
    assert [len(section.frames) for section in found] == [0, 0, 0]
    assert sections([], np.zeros((0, 0), np.float32), a_line())[2].rows == ()
