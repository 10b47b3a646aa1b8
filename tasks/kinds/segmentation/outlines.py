"""Polygons as masks, by one rule: a pixel belongs to an outline if its centre lies inside (even-odd).

A centre that lies on an edge belongs to what is right of it or below: outlines that share an edge share no pixel and
leave none out, and a rectangle of whole pixels is exactly those pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.kinds.segmentation.runs import Crop

MAX_POINTS = 20_000
"""Of one outline: more is taken for damage."""
_BLOCK = 256
Points = NDArray[np.float64]


def filled(points: Points, width_px: int, height_px: int) -> Crop:
    """The pixels of an outline that lie in a picture; a crop of no pixels where there are none.

    Args:
        points: float64 [n, 2], x and y in pixels from the picture's top left corner; the last is joined to the first.
        width_px: Of the picture.
        height_px: As `width_px`.
    """
    x, y = points[:, 0], points[:, 1]
    left, right = (int(np.clip(np.floor(edge), 0, width_px)) for edge in (x.min(), x.max() + 1))
    upper, lower = (int(np.clip(np.floor(edge), 0, height_px)) for edge in (y.min(), y.max() + 1))
    if right <= left or lower <= upper:
        return Crop(0, 0, np.zeros((0, 0), dtype=np.bool_))
    row, crossing = _crossings(x, y, upper, lower)
    column = np.clip(np.ceil(crossing - 0.5), left, right).astype(np.int64) - left
    steps = np.zeros((lower - upper, right - left + 1), dtype=np.int32)
    np.add.at(steps, (row - upper, column), 1)
    return Crop(upper, left, np.cumsum(steps, axis=1)[:, :-1] % 2 == 1)


def _crossings(x: Points, y: Points, upper: int, lower: int) -> tuple[NDArray[np.int64], Points]:
    """Where edges cross the lines of pixel centres of the rows from `upper` to before `lower`: rows, and places."""
    x2, y2 = np.roll(x, -1), np.roll(y, -1)
    first = np.clip(np.ceil(np.minimum(y, y2) - 0.5), upper, lower).astype(np.int64)
    end = np.clip(np.ceil(np.maximum(y, y2) - 0.5), upper, lower).astype(np.int64)
    rows = end - first
    edge = np.repeat(np.arange(len(x)), rows)
    row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(rows) - rows, rows)
    along = (row + 0.5 - y[edge]) / (y2 - y)[edge]
    return row, x[edge] + along * (x2 - x)[edge]


def crosses_itself(points: Points) -> bool:
    """Whether two edges of an outline cross in their midst. Edges that touch, or lie on each other, do not."""
    apart = np.any(points != np.roll(points, -1, axis=0), axis=1)
    a = points[apart]
    b = np.roll(a, -1, axis=0)
    for start in range(0, len(a), _BLOCK):
        own = slice(start, start + _BLOCK)
        if (_split(a[own], b[own], a, b) & _split(a, b, a[own], b[own]).T).any():
            return True
    return False


def _split(a: Points, b: Points, c: Points, d: Points) -> NDArray[np.bool_]:
    """Whether the line through each a and b parts each c from d: [n, m]."""
    along = (b - a)[:, None]
    sides = [along[..., 0] * (p - a[:, None])[..., 1] - along[..., 1] * (p - a[:, None])[..., 0] for p in (c, d)]
    parted: NDArray[np.bool_] = np.sign(sides[0]) * np.sign(sides[1]) < 0
    return parted
