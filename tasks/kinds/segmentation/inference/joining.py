"""One cell for what several tiles saw.

Of what two tiles saw of a cell, the tile in whose core it lies is believed, then one that saw it whole, then the surer.
A cell that no tile saw whole, because it is larger than the overlap, is put together: two cut pieces that agree where
both tiles looked (intersection over union there of `AGREE` or more) become one.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tasks.kinds.segmentation.inference.pieces import Bools, Piece

SAME = 0.5
"""Pieces of two tiles are one cell where they share so much of the smaller one."""
AGREE = 0.5


def joined(pieces: Iterable[Piece], height: int, width: int) -> list[Piece]:
    """The cells of a picture, each once. Pieces of one tile are never compared: what it saw twice is `disjoint`'s.

    A piece that is cut, and whose centre another tile sees better, is left out.
    """
    wanted = [piece for piece in pieces if piece.central or not piece.cut]
    owners: NDArray[np.int32] = np.zeros((height, width), dtype=np.int32)  # 1 + the place among `kept`
    kept: list[Piece] = []
    for piece in sorted(wanted, key=lambda piece: (piece.cut, not piece.central, -piece.score)):
        place = _same_cell(piece, owners, kept)
        if place is None:
            kept.append(piece)
            place = len(kept) - 1
        elif not (piece.cut and kept[place].cut):
            continue  # seen better already
        elif _agree(kept[place], piece):
            kept[place] = _united(kept[place], piece)
        else:
            continue
        there = owners[piece.rows, piece.columns]
        there[piece.mask & (there == 0)] = place + 1
    return kept


def _same_cell(piece: Piece, owners: NDArray[np.int32], kept: list[Piece]) -> int | None:
    """Which kept cell a piece of another tile is."""
    under = owners[piece.rows, piece.columns][piece.mask]
    places, counts = np.unique(under[under > 0] - 1, return_counts=True)
    for place in places[np.argsort(-counts, kind="stable")]:
        other = kept[int(place)]
        if set(other.seen) & set(piece.seen):
            continue
        shared = int(np.count_nonzero(_over(other, piece) & piece.mask))
        if shared >= SAME * min(piece.area, other.area) or (piece.cut and other.cut and _agree(other, piece)):
            return int(place)
    return None


def _agree(first: Piece, second: Piece) -> bool:
    """Whether two pieces say the same of what both tiles looked at."""
    common = np.zeros_like(second.mask)
    shared = np.zeros_like(second.mask)
    over = _over(first, second)
    for rect in first.seen:
        common |= second.within(rect)
        shared |= second.within(rect) & over
    own = _within_tiles(first, second)
    union = own + int(np.count_nonzero(common)) - int(np.count_nonzero(shared))
    return union > 0 and int(np.count_nonzero(shared)) >= AGREE * union


def _within_tiles(first: Piece, second: Piece) -> int:
    """Pixels of the first piece where the tiles of the second looked."""
    inside = np.zeros_like(first.mask)
    for rect in second.seen:
        inside |= first.within(rect)
    return int(np.count_nonzero(inside))


def _over(piece: Piece, other: Piece) -> Bools:
    """A piece's mask on the other's rows and columns."""
    out = np.zeros_like(other.mask)
    x1, y1 = max(piece.x, other.x), max(piece.y, other.y)
    x2, y2 = min(piece.columns.stop, other.columns.stop), min(piece.rows.stop, other.rows.stop)
    if x2 > x1 and y2 > y1:
        part = piece.mask[y1 - piece.y : y2 - piece.y, x1 - piece.x : x2 - piece.x]
        out[y1 - other.y : y2 - other.y, x1 - other.x : x2 - other.x] = part
    return out


def _united(first: Piece, second: Piece) -> Piece:
    x, y = min(first.x, second.x), min(first.y, second.y)
    right, bottom = max(first.columns.stop, second.columns.stop), max(first.rows.stop, second.rows.stop)
    mask = np.zeros((bottom - y, right - x), dtype=np.bool_)
    for piece in (first, second):
        mask[piece.y - y : piece.y - y + piece.mask.shape[0], piece.x - x : piece.x - x + piece.mask.shape[1]] |= (
            piece.mask
        )
    surer = first if first.score >= second.score else second
    low, high = np.minimum(first.box_px, second.box_px), np.maximum(first.box_px, second.box_px)
    return Piece(
        x=x, y=y, mask=mask, score=surer.score, label=surer.label, box_px=np.concatenate([low[:2], high[2:]]),
        seen=(*first.seen, *second.seen), cut=True, central=True, number=surer.number,
    )  # fmt: skip
