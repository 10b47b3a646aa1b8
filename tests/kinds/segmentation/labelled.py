"""What tests of labels need: a line, a frame, masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tasks.config import Line, parse_line
from tasks.kinds import kind_of
from tasks.schemas import Frame
from tests.validation.factory import NOON

SEGMENTATION = kind_of("segmentation")
MASKS = arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40)))
"""Any picture of noise, odd sizes included."""


def cell_line(*classes: str, **changes: Any) -> Line:
    data = {
        "line": "cells", "kind": "segmentation", "classes": list(classes or ("cell",)), "recipe": {"name": "two-stage"},
        "gates": [{"metric": "PQ", "at_least": 0.5}],
    }  # fmt: skip
    return parse_line(data | changes, "a test")


def a_frame(width_px: int, height_px: int) -> Frame:
    return Frame(
        line="cells", recording_id="1" * 64, frame_index=3, oid="2" * 64, media_type="image/png", pts_s=None,
        width_px=width_px, height_px=height_px, phash="0" * 16, reason="labelled", taken_at=NOON,
    )  # fmt: skip


def square(top: int, left: int, side: int, shape: tuple[int, int] = (48, 64)) -> np.ndarray:
    mask = np.zeros(shape, dtype=np.bool_)
    mask[top : top + side, left : left + side] = True
    return mask
