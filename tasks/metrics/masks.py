"""Masks as run lengths: COCO's, by pycocotools; small to store, and what is asked of many of them costs no pictures.

A mask is the text of COCO's compressed run lengths (`counts`): runs of 0 and 1 in turn, down the columns, of a picture
of a known height and width. Ten thousand cells of a large picture are a few hundred kilobytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
_AREAS = 255
"""pycocotools 2.0.11 cannot give the areas of more masks at once: it keeps their number in eight bits."""


def encode(mask: NDArray[Any]) -> str:
    """One mask [height, width], of zeros and others, as run lengths."""
    from pycocotools import mask as coco

    return str(coco.encode(np.asfortranarray(mask != 0, dtype=np.uint8))["counts"].decode("ascii"))


def decode(counts: str, height_px: int, width_px: int) -> Bools:
    """The mask [height, width] of run lengths.

    Raises:
        ValueError: They are not of a mask of that size.
    """
    from pycocotools import mask as coco

    check_counts(counts, height_px, width_px)
    return np.asarray(coco.decode(as_coco(counts, height_px, width_px)), dtype=np.bool_)


def as_coco(counts: str, height_px: int, width_px: int) -> dict[str, Any]:
    """In the form that pycocotools takes. It trusts its input: check foreign run lengths with `check_counts`."""
    return {"size": [height_px, width_px], "counts": counts.encode("ascii")}


def runs_of(counts: str) -> NDArray[np.int64]:
    """The lengths of the runs that a text says, in COCO's code (LEB128 of five bits, differences from the third on).

    Raises:
        ValueError: It is no such text.
    """
    data = counts.encode("ascii") if counts.isascii() else b"\xff"
    code = np.frombuffer(data, dtype=np.uint8).astype(np.int64) - 48
    if len(code) == 0 or code.min() < 0 or code.max() > 63 or code[-1] & 32:
        raise ValueError("is not a text of COCO's run lengths")
    last = np.flatnonzero(code & 32 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    digit = np.arange(len(code)) - np.repeat(first, last - first + 1)
    if digit.max() > 11:
        raise ValueError("has a run that is longer than any picture")
    values = np.add.reduceat((code & 31) << (5 * digit), first)
    values -= np.where(code[last] & 16, 1 << (5 * (last - first + 1)), 0)
    runs = values.copy()
    runs[1::2][1:] = np.cumsum(values[1::2])[1:]  # differences from the run before the last: odd and even apart
    runs[2::2] = np.cumsum(values[2::2])
    return runs


def check_counts(counts: str, height_px: int, width_px: int) -> None:
    """Refuse run lengths that are not of a mask of that size: pycocotools would read or write beyond its memory.

    Raises:
        ValueError: Saying what is wrong.
    """
    runs, pixels = runs_of(counts), height_px * width_px
    # Each by itself, too: the sum of huge ones overflows, and can come round to `pixels`.
    if (runs < 0).any() or (runs > pixels).any() or int(runs.sum()) != pixels:
        total = np.maximum(runs, 0).sum(dtype=np.float64)
        raise ValueError(f"run lengths of {total:.0f} pixels cannot be a mask of {width_px} x {height_px} pixels")


def areas(masks: Sequence[dict[str, Any]]) -> NDArray[np.int64]:
    """Pixels of each mask, int64 [n]; masks as `as_coco` gives them."""
    from pycocotools import mask as coco

    blocks = [coco.area(list(masks[start : start + _AREAS])) for start in range(0, len(masks), _AREAS)]
    return np.asarray(np.concatenate([np.zeros(0), *blocks]), dtype=np.int64)


def boxes(masks: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """The smallest upright box of each mask: x, y, width, height in pixels, float64 [n, 4]; zeros where it is empty."""
    from pycocotools import mask as coco

    return np.asarray(coco.toBbox(list(masks)) if masks else np.zeros((0, 4)), dtype=np.float64).reshape(-1, 4)


def iou(first: Sequence[dict[str, Any]], second: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Intersection over union of each with each, float64 [n, m]; all of one picture."""
    from pycocotools import mask as coco

    if not first or not second:
        return np.zeros((len(first), len(second)))
    return np.asarray(coco.iou(list(first), list(second), [0] * len(second)), dtype=np.float64)
