"""What masks are like, measured on their run lengths: many at once, none of them decoded to pixels but for its holes.

A mask's runs, cut at the columns, are the nodes of a graph; two runs of neighbouring columns that touch, corners
included, are joined. Its connected parts are the mask's pieces (8-connected). Runs and what two of them share are
contractible and no three share a point, so pieces - holes = runs - joints (Euler's formula): holes are counted without
looking for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tasks.kinds.segmentation.runs import Bools, Ints, crop_of_text, cut_at_lines
from tasks.metrics import masks

Floats = NDArray[np.float64]
_BLOCK_CHARACTERS = 2_000_000


@dataclass(frozen=True)
class Shapes:
    """Measures of n masks, each an array [n]; all 0 for a mask that is empty or not complete.

    Attributes:
        complete: Whether the text is one of a mask of that size.
        area_px: Pixels.
        left: First column; `right` is the one behind the last.
        top: First row; `bottom` is the one behind the last.
        pieces: Parts that do not touch each other.
        largest_px: Pixels of the largest piece.
        holes: Parts of the ground that a piece encloses.
    """

    complete: Bools
    area_px: Ints
    left: Ints
    right: Ints
    top: Ints
    bottom: Ints
    pieces: Ints
    largest_px: Ints
    holes: Ints


def measure(texts: Sequence[str], height_px: Sequence[int] | Ints, width_px: Sequence[int] | Ints) -> Shapes:
    """Measure masks, each COCO's text of a picture of its own size."""
    heights, widths = (np.asarray(sides, dtype=np.int64).reshape(-1) for sides in (height_px, width_px))
    lengths = np.cumsum([len(text) for text in texts], dtype=np.int64)
    cuts = np.unique(np.searchsorted(lengths, np.arange(0, lengths[-1] if len(lengths) else 0, _BLOCK_CHARACTERS)))
    edges = [*cuts.tolist(), len(texts)]
    parts = [_measure_block(texts[a:b], heights[a:b], widths[a:b]) for a, b in pairwise(edges) if b > a]
    parts = parts or [_measure_block([], heights, widths)]
    return Shapes(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Shapes)))


def _measure_block(texts: Sequence[str], heights: Ints, widths: Ints) -> Shapes:
    n = len(texts)
    complete, of, start, end = _runs(texts, heights * widths)
    # One flat line for all masks: each column of each mask has a number of its own, a gap between masks.
    first_column = np.concatenate([[0], np.cumsum(widths + 1)[:-1]]).astype(np.int64) if n else np.zeros(0, np.int64)
    mask, column, top, bottom = _columns(of, start, end, heights)
    area = np.bincount(mask, bottom - top, n).astype(np.int64)
    left, top_ = (_extreme(values, mask, n, low=True) for values in (column, top))
    right, bottom_ = (_extreme(values, mask, n, low=False) for values in (column + 1, bottom))
    one, two = _joints(first_column[mask] + column, top, bottom)
    pieces, largest = _pieces(mask, bottom - top, one, two, n)
    runs, joints = np.bincount(mask, minlength=n), np.bincount(mask[one], minlength=n)
    return Shapes(complete, area, left, right, top_, bottom_, pieces, largest, pieces - runs + joints)


def _runs(texts: Sequence[str], pixels: Ints) -> tuple[Bools, Ints, Ints, Ints]:
    """Whether each text is complete; of those that are, whose each run is, its start and its end."""
    data = [text.encode("ascii") if text.isascii() else b"" for text in texts]
    size = np.array([len(each) for each in data], dtype=np.int64)
    code = np.frombuffer(b"".join(data), dtype=np.uint8).astype(np.int64) - 48
    whose = np.repeat(np.arange(len(data)), size)
    complete = size > 0
    complete[whose[(code < 0) | (code > 63)]] = False
    complete[complete] &= code[np.cumsum(size)[complete] - 1] & 32 == 0
    code, whose = code[complete[whose]], whose[complete[whose]]
    last = np.flatnonzero(code & 32 == 0)
    first = np.concatenate([[0], last[:-1] + 1])[: len(last)].astype(np.int64)
    digits = last - first + 1
    complete[whose[last[digits > 9]]] = False  # longer than any picture
    shift = 5 * np.minimum(np.arange(len(code)) - np.repeat(first, digits), 11)
    values = np.add.reduceat((code & 31) << shift, first) if len(first) else np.zeros(0, np.int64)
    values -= np.where(code[last] & 16, np.int64(1) << np.minimum(5 * digits, 62), 0)
    return _lengths(complete, values, whose[last], pixels)


def _lengths(complete: Bools, values: Ints, of: Ints, pixels: Ints) -> tuple[Bools, Ints, Ints, Ints]:
    """From differences, to the run before the last, to places. Odd and even runs are summed apart."""
    n = len(pixels)
    keep = complete[of]
    values, of = values[keep], of[keep]
    count = np.bincount(of, minlength=n)
    begin = np.cumsum(count) - count
    place = np.arange(len(of)) - begin[of]
    lengths = values.copy()
    for parity in (0, 1):
        own = np.flatnonzero((place % 2 == parity) & (place > 0))
        sums = np.cumsum(values[own])
        starts = np.flatnonzero(np.diff(of[own], prepend=-1))
        before = np.concatenate([[0], sums])[starts]
        lengths[own] = sums - np.repeat(before, np.diff(np.append(starts, len(own))))
    complete = complete & (count > 0)
    complete[of[(lengths < 0) | (lengths > pixels[of])]] = False
    total = np.cumsum(np.where(complete[of], lengths, 0))
    offset = np.concatenate([[0], total])[begin] if len(total) else np.zeros(n, np.int64)
    summed = np.bincount(of, np.where(complete[of], lengths, 0), n).astype(np.int64)
    complete &= summed == pixels
    end = total - offset[of]
    drawn = (place % 2 == 1) & (lengths > 0) & complete[of]
    return complete, of[drawn], (end - lengths)[drawn], end[drawn]


def _columns(of: Ints, start: Ints, end: Ints, heights: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Runs cut where a column ends, joined where they touch in one: mask, column, first row, row behind the last."""
    parts = []
    for height in np.unique(heights[of]):
        own = np.flatnonzero(heights[of] == height)
        piece, column, top, bottom = cut_at_lines(start[own], end[own], int(height))
        parts.append(np.stack([of[own][piece], column, top, bottom]))
    if not parts:
        return (np.zeros(0, np.int64),) * 4
    found = np.concatenate(parts, axis=1)
    if len(parts) > 1:
        found = found[:, np.argsort(found[0], kind="stable")]
    mask, column, top, bottom = found
    joined = (mask[1:] == mask[:-1]) & (column[1:] == column[:-1]) & (top[1:] == bottom[:-1])
    first, last = np.concatenate([[True], ~joined]), np.concatenate([~joined, [True]])
    return mask[first], column[first], top[first], bottom[last]


def _extreme(values: Ints, mask: Ints, n: int, *, low: bool) -> Ints:
    """Of each mask the least value of its runs, or the largest."""
    found = np.zeros(n, dtype=np.int64)
    starts = np.flatnonzero(np.diff(mask, prepend=-1))
    if len(starts):
        found[mask[starts]] = (np.minimum if low else np.maximum).reduceat(values, starts)
    return found


def _joints(column: Ints, top: Ints, bottom: Ints) -> tuple[Ints, Ints]:
    """Pairs of runs of neighbouring columns that touch, corners included; runs are in order of column, then row."""
    if not len(column):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    stride = int(bottom.max()) + 2
    first = np.searchsorted(column * stride + bottom, (column + 1) * stride + top, side="left")
    behind = np.searchsorted(column * stride + top, (column + 1) * stride + bottom, side="right")
    count = np.maximum(behind - first, 0)
    one = np.repeat(np.arange(len(column)), count)
    two = first[one] + np.arange(len(one)) - np.repeat(np.cumsum(count) - count, count)
    return one, two


def _pieces(mask: Ints, size: Ints, one: Ints, two: Ints, n: int) -> tuple[Ints, Ints]:
    """Of each mask the number of its pieces, and the pixels of the largest."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(mask):
        return np.zeros(n, np.int64), np.zeros(n, np.int64)
    joints = coo_array((np.ones(len(one), dtype=np.int8), (one, two)), shape=(len(mask), len(mask)))
    count, piece = connected_components(joints, directed=False)
    owner = np.zeros(count, dtype=np.int64)
    owner[piece] = mask
    largest = np.zeros(n, dtype=np.int64)
    np.maximum.at(largest, owner, np.bincount(piece, size, count).astype(np.int64))
    return np.bincount(owner, minlength=n), largest


def hole_pixels(text: str, height_px: int) -> int:
    """Pixels of the ground that a mask encloses, edge to edge; of checked texts."""
    from scipy.ndimage import binary_fill_holes

    pixels = crop_of_text(text, height_px).pixels
    return int(binary_fill_holes(pixels).sum() - pixels.sum()) if pixels.size else 0


def overlaps(texts: Sequence[str], height_px: int, width_px: int) -> Floats:
    """Of each mask the share that lies on each other: float64 [n, n], diagonal 0; of checked texts, none empty."""
    from pycocotools import mask as coco

    own = [masks.as_coco(text, height_px, width_px) for text in texts]
    shared = np.asarray(coco.iou(own, own, [1] * len(own)), dtype=np.float64).reshape(len(own), len(own))
    np.fill_diagonal(shared, 0)
    return shared
