"""A line of cells, pictures with rectangles for cells, and what a model says of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from tasks.config import Line, parse_line
from tasks.kinds.segmentation.instances import Instances
from tasks.kinds.segmentation.objects import mask_object
from tasks.metrics.masks import encode

HEIGHT, WIDTH = 40, 60
Rectangle = tuple[int, int, int, int]
"""y, x, height, width."""


def a_line(**rest: Any) -> Line:
    """Two classes of cells, small below 6 px and large from 12 px on."""
    return parse_line(
        {
            "line": "cells",
            "kind": "segmentation",
            "classes": {"cell": {"hotkey": "c", "aliases": ["nucleus"]}, "debris": {"hotkey": "d"}},
            "recipe": {"name": "any"},
            "gates": [{"metric": "AP50_pooled", "at_least": 0.5}],
            "evaluation": {"small_px": 6, "large_px": 12, "resamples": 100},
            **rest,
        },
        "test",
    )


def rectangle(y: int, x: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[y : y + height, x : x + width] = True
    return mask


def row(
    number: int, cells: Sequence[tuple[str, Rectangle]], *more: dict[str, Any], split: str = "test"
) -> dict[str, Any]:
    """A manifest's row with these cells labelled, and what else is given."""
    objects = [mask_object(label, rectangle(*place)) for label, place in cells]
    return {
        "split": split, "recording_id": f"{number:064x}", "recording_name": f"slide-{number}.png",
        "group": f"donor:d{number % 3}", "frame_index": 0, "pts_s": None,
        "frame_oid": hashlib.sha256(str(number).encode()).hexdigest(), "width_px": WIDTH, "height_px": HEIGHT,
        "objects": json.dumps([*objects, *more]),
    }  # fmt: skip


def instances(*cells: tuple[int, float, Rectangle], height: int = HEIGHT, width: int = WIDTH) -> Instances:
    """Cells by the model's index of the class, score and place."""
    grids = [np.pad(rectangle(*place), ((0, height - HEIGHT), (0, width - WIDTH))) for _, _, place in cells]
    return Instances(
        height_px=height,
        width_px=width,
        masks=tuple(encode(grid) for grid in grids),
        labels=np.array([label for label, _, _ in cells], dtype=np.int64),
        scores=np.array([score for _, score, _ in cells], dtype=np.float64),
        boxes_px=np.array([(x, y, x + w, y + h) for _, _, (y, x, h, w) in cells], dtype=np.float64).reshape(-1, 4),
    )
