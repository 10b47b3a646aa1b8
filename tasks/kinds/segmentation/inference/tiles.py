"""Where the tiles of a picture lie: side by side with an overlap, none beyond the picture unless that is smaller."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

MULTIPLE = 32
"""Networks take sides that are multiples of it."""


class Tile(NamedTuple):
    """A part of the scaled picture.

    Attributes:
        x, y: Its left upper corner.
        width, height: Multiples of `MULTIPLE`; more than the picture where that is smaller.
        core: x1, y1, x2, y2: what of the scaled picture it sees better than any other tile; cores cover the picture
            and share no pixel.
        inner: Left, top, right, bottom: whether the picture goes on beyond that side.
    """

    x: int
    y: int
    width: int
    height: int
    core: tuple[float, float, float, float]
    inner: tuple[bool, bool, bool, bool]


def tiles_of(height: int, width: int, side: int, overlap: int) -> list[Tile]:
    """Tiles that cover a scaled picture, row by row.

    Args:
        height, width: Of the scaled picture, in pixels.
        side: Of a tile; a multiple of `MULTIPLE`.
        overlap: Of neighbours, at least. A cell that is smaller is whole in one tile.
    """
    if side % MULTIPLE or not 0 <= overlap < side:
        raise ValueError(f"expected a side that is a multiple of {MULTIPLE} and a smaller overlap: {side}, {overlap}")
    rows, columns = _spans(height, side, overlap), _spans(width, side, overlap)
    return [
        Tile(x, y, w, h, (left, top, right, bottom), (left > 0, top > 0, right < width, bottom < height))
        for y, h, top, bottom in rows
        for x, w, left, right in columns
    ]


def _spans(length: int, side: int, overlap: int) -> list[tuple[int, int, float, float]]:
    """Start, length, start and end of the core, of each tile along a side."""
    if length <= side:
        return [(0, -(-length // MULTIPLE) * MULTIPLE, 0.0, float(length))]
    count = 1 + -(-(length - side) // (side - overlap))
    starts = [round(place * (length - side) / (count - 1)) for place in range(count)]
    middles = [(left + side + right) / 2 for left, right in pairwise(starts)]
    edges = [0.0, *middles, float(length)]
    return [(start, side, edges[place], edges[place + 1]) for place, start in enumerate(starts)]
