"""What the exploration report has of boxes: places described, and labels that do not go with what they hold."""

from __future__ import annotations

import cv2
import numpy as np

from tasks.config import parse_line
from tasks.kind import Image, Object
from tasks.kinds.detection.exploration import NOTHING, part_sections, parts

LINE = parse_line(
    {"line": "cells", "kind": "detection", "classes": ["disc", "bar"], "recipe": {"name": "any"},
     "gates": [{"metric": "AP50", "at_least": 0.5}]}, "test",
)  # fmt: skip


def frame(seed: int) -> tuple[Image, list[Object]]:
    """Three discs and three bars on noise, labelled rightly."""
    random = np.random.default_rng(seed)
    image, objects = random.integers(60, 90, (120, 180, 3), dtype=np.uint8), []
    for number, place in enumerate(random.permutation(12)[:6]):
        x, y = 22 + 45 * int(place % 4), 20 + 40 * int(place // 4)
        if number % 2:
            cv2.circle(image, (x, y), 8, (230, 230, 230), -1)
            objects.append({"label": "disc", "x_px": x - 8, "y_px": y - 8, "width_px": 17, "height_px": 17})
        else:
            cv2.rectangle(image, (x - 12, y - 3), (x + 12, y + 3), (230, 230, 230), -1)
            objects.append({"label": "bar", "x_px": x - 12, "y_px": y - 3, "width_px": 25, "height_px": 7})
    return image, objects


def test_places_without_a_box_touch_none() -> None:
    image, objects = frame(0)
    found = parts(image, objects)
    assert [part.label for part in found[:6]] == [each["label"] for each in objects]
    empty = [part.box_px for part in found if part.label == NOTHING]
    assert 1 <= len(empty) <= 3
    for x, y, width, height in empty:
        assert x >= 0 and x + width <= 180 and y >= 0 and y + height <= 120
        for box in objects:
            assert (x + width <= box["x_px"] or box["x_px"] + box["width_px"] <= x
                    or y + height <= box["y_px"] or box["y_px"] + box["height_px"] <= y)  # fmt: skip
    for one, other in zip(found, parts(image, objects), strict=True):
        assert one.box_px == other.box_px and (one.features == other.features).all(), "the same again"
    assert parts(image, []) == [] and parts(image, [{**objects[0], "crowd": True}]) == []
    edge = parts(image, [{"label": "disc", "x_px": -5, "y_px": 110, "width_px": 20, "height_px": 10}])
    assert np.isfinite(edge[0].features).all()


def test_swapped_and_empty_and_forgotten_boxes_are_to_be_looked_at() -> None:
    rows, found = [], []
    for number in range(30):
        image, objects = frame(number)
        if number == 4:
            objects[0]["label"] = "disc"  # a bar
        if number == 11:  # a box around nothing
            spot = next(part.box_px for part in parts(image, objects) if part.label == NOTHING)
            objects.append(dict(zip(("label", "x_px", "y_px", "width_px", "height_px"), ("disc", *spot), strict=False)))
        rows.append({"group": f"g{number // 3}", "frame_oid": f"{number:064x}", "recording_name": f"r{number}",
                     "frame_index": 0, "pts_s": None, "split": "train"})  # fmt: skip
        found += [(number, part) for part in parts(image, objects)]
    (section,) = part_sections(rows, found, LINE)
    captions = [frame.caption for frame in section.frames]
    assert any(text.startswith("disc, or bar (") and "r4," in text for text in captions), captions
    assert any(text.startswith("disc, or nothing (") and "r11," in text for text in captions), captions
    assert section.to_check == len(captions) <= 6, captions
    assert [row[0] for row in section.rows] == ["disc", "bar", NOTHING]


def test_too_few_groups_are_said() -> None:
    image, objects = frame(0)
    row = {
        "group": "g",
        "frame_oid": "0" * 64,
        "recording_name": "r",
        "frame_index": 0,
        "pts_s": None,
        "split": "train",
    }
    (section,) = part_sections([row], [(0, part) for part in parts(image, objects)], LINE)
    assert section.to_check is None and section.note.startswith("Nothing was looked for: each class must stand in 3")
