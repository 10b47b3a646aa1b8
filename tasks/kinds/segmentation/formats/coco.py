"""COCO's outlines and masks: `segmentation` is a list of polygons, or run lengths, compressed or not.

See `tasks.labeling.formats.coco` for the files themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tasks.escaping import short_repr
from tasks.kind import BadFile, LabelFile
from tasks.kinds.segmentation.formats.records import ForeignCell, outline_of
from tasks.kinds.segmentation.runs import runs_of_text, text_of_runs
from tasks.labeling.formats.coco import Entry, is_crowd, read_images
from tasks.labeling.formats.content import number
from tasks.metrics import masks

_MOST_PIXELS = 2**31
_MOST_PARTS = 1000


def read(folder: Path) -> Iterator[LabelFile | BadFile]:
    """Every image of every .json file below a folder, by name."""
    return read_images(folder, _cell, "cells")


def _cell(entry: Entry, label: str) -> ForeignCell:
    said, crowd = entry.get("segmentation"), is_crowd(entry)
    if isinstance(said, dict):
        height_px, width_px = _size(said.get("size"))
        mask = _mask(said.get("counts"), height_px, width_px)
        return ForeignCell(label, mask, height_px, width_px, crowd=crowd)
    if not isinstance(said, list) or not said:
        raise ValueError("it has no segmentation; of a box alone a model cannot learn an outline")
    if len(said) > _MOST_PARTS:
        raise ValueError(f"its segmentation has {len(said)} polygons, and at most {_MOST_PARTS} are taken")
    return ForeignCell(label, outlines=tuple(_polygon(each) for each in said), crowd=crowd)


def _polygon(said: Any) -> tuple[float, ...]:
    if not isinstance(said, list):
        raise ValueError(f"its segmentation has {short_repr(said)} for a polygon, expected [x, y, x, y, ...]")
    return outline_of([number(value, "a place of its polygon") for value in said], "a polygon")


def _size(said: Any) -> tuple[int, int]:
    whole = isinstance(said, list) and len(said) == 2 and all(type(each) is int and each > 0 for each in said)
    if not whole or said[0] * said[1] > _MOST_PIXELS:
        raise ValueError(f"the size of its run lengths is {short_repr(said)}, expected [height, width] in pixels")
    return said[0], said[1]


def _mask(counts: Any, height_px: int, width_px: int) -> str:
    """Run lengths as a text that is the same for the same mask.

    Raises:
        ValueError: They are not of a mask of that size.
    """
    if isinstance(counts, str):
        masks.check_counts(counts, height_px, width_px)
        return text_of_runs(*runs_of_text(counts), height_px, width_px)
    whole = isinstance(counts, list) and all(type(each) is int and 0 <= each <= _MOST_PIXELS for each in counts)
    if not whole:
        raise ValueError("its run lengths are neither a text nor a list of whole numbers")
    edges = np.cumsum(np.array([*counts, 0], dtype=np.int64))
    if int(edges[-1]) != height_px * width_px:
        raise ValueError(f"run lengths of {edges[-1]} pixels cannot be a mask of {width_px} x {height_px} pixels")
    last = len(counts) // 2 * 2
    start, end = edges[:last:2], edges[1:last:2]
    return text_of_runs(start[end > start], end[end > start], height_px, width_px)
