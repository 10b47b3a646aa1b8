"""Boxes that annotators drew for a model to fill, filled by its second stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tasks.config import Line
from tasks.kind import Image, Object
from tasks.kinds.segmentation.originals import shows_less
from tasks.schemas import Oid, Recording


def fill(predictor: Any, image: Image, objects: Sequence[Object]) -> list[Object]:
    """The cells of boxes: each with its mask of the whole image, or as it came where the model sees none in it.

    Raises:
        ConfigError: The model finds and outlines in one step, and takes no boxes.
    """
    height, width = image.shape[:2]
    corners = [(o["x_px"], o["y_px"], o["x_px"] + o["width_px"], o["y_px"] + o["height_px"]) for o in objects]
    boxes = np.clip(np.array(corners, dtype=np.float64).reshape(-1, 4), 0, [width, height] * 2)
    found: list[str | None] = predictor.fill(image, boxes)
    return [
        {"label": item["label"], "mask": mask, "height_px": height, "width_px": width} if mask else dict(item)
        for item, mask in zip(objects, found, strict=True)
    ]


def original_of(recording: Recording, line: Line) -> Oid | None:
    """The picture as it was taken, where its frame shows less of it; see `originals.py`."""
    return recording.recording_id if shows_less(recording, bool(line.channels)) else None
