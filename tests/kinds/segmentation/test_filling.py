"""Boxes of annotators as a model fills them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tasks.config import Line, parse_line
from tasks.kinds.segmentation.filling import fill, original_of
from tests.labeling.annotators import a_recording


class Second:
    """A model that sees a cell in each box but those of an odd number."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def fill(self, image: Any, boxes: Any) -> list[str | None]:
        self.asked = boxes.tolist()
        return [None if number % 2 else f"of box {number}" for number in range(len(boxes))]


def box(x: float, y: float, side: float = 10) -> dict[str, Any]:
    return {"label": "cell", "x_px": x, "y_px": y, "width_px": side, "height_px": side, "to_fill": True}


def a_line(**changes: Any) -> Line:
    line = {"line": "cells", "kind": "segmentation", "classes": ["cell"], "recipe": {"name": "two-stage"},
            "gates": [{"metric": "PQ", "at_least": 0}]}  # fmt: skip
    return parse_line(line | changes, "test")


def test_boxes_become_masks_in_their_order_and_one_without_a_cell_stays() -> None:
    model, image = Second(), np.zeros((40, 50, 3), np.uint8)
    asked = [box(-4, 30, 20), box(-4, 20, 20), box(20, 8)]
    size = {"height_px": 40, "width_px": 50}
    assert fill(model, image, asked) == [
        {"label": "cell", "mask": "of box 0", **size}, asked[1], {"label": "cell", "mask": "of box 2", **size},
    ]  # fmt: skip
    assert model.asked == [[0, 30, 16, 40], [0, 20, 16, 40], [20, 8, 30, 18]], "cut where the picture ends"
    assert fill(model, image, []) == []


@pytest.mark.parametrize(("still", "channels", "deep", "wanted"), [
    (True, {}, False, False), (True, {}, True, True), (True, {"nucleus": 1}, False, True), (False, {}, True, False),
])  # fmt: skip
def test_the_model_is_shown_a_still_as_it_was_taken_where_its_frame_shows_less(
    still: bool, channels: dict[str, int], deep: bool, wanted: bool
) -> None:
    recording = a_recording("a.tif")
    shown = type("Shown", (), {"recording_id": recording.recording_id, "is_still": still,
                               "grey_range": (0.0, 4095.0) if deep else None})  # fmt: skip
    assert (original_of(shown, a_line(channels=channels)) == recording.recording_id) is wanted
