"""Cells that share no pixel, each in one piece without holes, as run lengths of the whole picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.kinds.segmentation.inference.pieces import Bools, Piece, trimmed

MIN_AREA_PX = 4
"""Smaller cells are left out."""
MIN_LEFT = 0.5
"""A cell that has less than this share left, when surer ones have theirs, is one of them once more."""


def disjoint(pieces: Sequence[Piece], height: int, width: int, min_left: float = MIN_LEFT) -> list[Piece]:
    """Cells that share no pixel, surest first; of equal scores the first one given.

    Args:
        pieces: One for each cell.
        height, width: Of the picture.
        min_left: As `MIN_LEFT`; 0 keeps every cell that has `MIN_AREA_PX`.
    """
    taken: Bools = np.zeros((height, width), dtype=np.bool_)
    kept = []
    for piece in sorted(pieces, key=lambda piece: -piece.score):
        whole = _filled(_largest(piece.mask))
        under = taken[piece.rows, piece.columns]
        left = whole & ~under
        if np.count_nonzero(left) < min_left * np.count_nonzero(whole):
            continue
        left = _largest(left)
        found = trimmed(piece.x, piece.y, left)
        if found is None or np.count_nonzero(left) < MIN_AREA_PX:
            continue
        under |= left
        x, y, mask = found
        kept.append(_moved(piece, x, y, mask))
    return kept


def run_lengths(pieces: Sequence[Piece], height: int, width: int) -> tuple[str, ...]:
    """The masks of a picture in COCO's compressed run lengths (`tasks.metrics.masks`)."""
    from pycocotools import mask as coco

    runs = [{"size": [height, width], "counts": _runs(piece, height, width)} for piece in pieces]
    return tuple(each["counts"].decode("ascii") for each in coco.frPyObjects(runs, height, width)) if runs else ()


def _runs(piece: Piece, height: int, width: int) -> list[int]:
    """Lengths of the runs of 0 and 1 in turn, down the columns of the whole picture."""
    edged = np.zeros((piece.mask.shape[1], piece.mask.shape[0] + 2), dtype=np.int8)
    edged[:, 1:-1] = piece.mask.T
    change = np.diff(edged, axis=1)
    column, row = np.nonzero(change)  # starts and ends of runs in turn, column by column
    places = (piece.x + column) * height + piece.y + row
    keep = np.ones(len(places), dtype=np.bool_)  # a run that ends where the next column's begins is one run
    touch = np.flatnonzero(places[1:-1:2] == places[2::2]) if len(places) > 2 else np.zeros(0, dtype=np.int64)
    keep[1 + 2 * touch] = keep[2 + 2 * touch] = False
    edges = np.concatenate([[0], places[keep], [height * width]])
    lengths = np.diff(edges)
    return [int(length) for length in (lengths[:-1] if lengths[-1] == 0 else lengths)]


def _moved(piece: Piece, x: int, y: int, mask: Bools) -> Piece:
    return Piece(
        x=x, y=y, mask=mask, score=piece.score, label=piece.label, box_px=piece.box_px, seen=piece.seen,
        cut=piece.cut, central=piece.central, number=piece.number,
    )  # fmt: skip


def _largest(mask: Bools) -> Bools:
    """The largest part that hangs together by its sides."""
    import cv2

    count, parts, about, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    if count <= 2:
        return mask
    return np.asarray(parts == 1 + int(np.argmax(about[1:, cv2.CC_STAT_AREA])))


def _filled(mask: Bools) -> Bools:
    """Without holes: ground that does not reach the edge."""
    import cv2

    ground: NDArray[np.uint8] = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    _, parts = cv2.connectedComponents(ground, connectivity=8)
    return np.asarray(parts[1:-1, 1:-1] != parts[0, 0])
