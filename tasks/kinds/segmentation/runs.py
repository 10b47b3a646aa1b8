"""Masks as runs of pixels, where decoding each whole picture would cost too much: crops, label images, COCO's text.

A *run* is an interval [start, end) of flat positions of a picture. COCO goes down the columns (position = column x
height + row), Label Studio along the rows (position = row x width + column). What is said of one holds of the other
with the picture turned over: a *line* is a column there and a row here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.metrics import masks

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Crop:
    """The part of a picture that a mask lies in.

    Attributes:
        top: First row.
        left: First column.
        pixels: Bool [rows, columns]; may be larger than the mask, never smaller.
    """

    top: int
    left: int
    pixels: Bools


def cut_at_lines(start: Ints, end: Ints, length: int) -> tuple[Ints, Ints, Ints, Ints]:
    """Runs cut where a line ends.

    Args:
        start: int64 [n], of the runs.
        end: int64 [n].
        length: Of a line.

    Returns:
        int64 [m] each: which run a piece is of, its line, and its start and end in that line.
    """
    first, last = start // length, (end - 1) // length
    pieces = last - first + 1
    of = np.repeat(np.arange(len(start)), pieces)
    line = first[of] + np.arange(len(of)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    from_ = np.where(line == first[of], start[of] - line * length, 0)
    to = np.where(line == last[of], end[of] - line * length, length)
    return of, line, from_, to


def runs_of_text(counts: str) -> tuple[Ints, Ints]:
    """Start and end of a mask's runs, down the columns, int64 [n] each; of checked texts.

    Raises:
        ValueError: It is no text of run lengths.
    """
    edges = np.cumsum(masks.runs_of(counts))
    start, end = edges[:-1:2], edges[1::2]
    start = start[: len(end)]
    keep = end > start
    return start[keep], end[keep]


def text_of_runs(start: Ints, end: Ints, height_px: int, width_px: int) -> str:
    """COCO's text of runs down the columns: sorted, of at least a pixel each; those that touch are joined."""
    from pycocotools import mask as coco

    if len(start):
        apart = start[1:] != end[:-1]
        start, end = start[np.concatenate([[True], apart])], end[np.concatenate([apart, [True]])]
    edges = np.empty(2 * len(start) + 2, dtype=np.int64)
    edges[0], edges[-1] = 0, height_px * width_px
    edges[1:-1:2], edges[2:-1:2] = start, end
    lengths = np.diff(edges)
    if len(lengths) > 1 and lengths[-1] == 0:
        lengths = lengths[:-1]
    said = {"counts": lengths.tolist(), "size": [height_px, width_px]}
    return str(coco.frPyObjects(said, height_px, width_px)["counts"].decode("ascii"))


def _painted(line: Ints, start: Ints, end: Ints) -> tuple[int, int, Bools]:
    """Pieces of lines as pixels: the first line, the first place in a line, and bool [lines, places]."""
    top, left = int(line.min()), int(start.min())
    wide = int(end.max()) - left
    steps = np.zeros((int(line.max()) - top + 1, wide + 1), dtype=np.int32)
    np.add.at(steps, (line - top, start - left), 1)
    np.add.at(steps, (line - top, end - left), -1)
    return top, left, np.cumsum(steps, axis=1)[:, :wide] > 0


def crop_of_text(counts: str, height_px: int) -> Crop:
    """The pixels of a mask, and where they are; of checked texts. An empty mask gives a crop of no pixels."""
    start, end = runs_of_text(counts)
    if not len(start):
        return Crop(0, 0, np.zeros((0, 0), dtype=np.bool_))
    _, column, top, bottom = cut_at_lines(start, end, height_px)
    left, first, turned = _painted(column, top, bottom)
    return Crop(first, left, turned.T)


def crop_of_rows(start: Ints, end: Ints, width_px: int) -> Crop:
    """As `crop_of_text`, of runs along the rows."""
    if not len(start):
        return Crop(0, 0, np.zeros((0, 0), dtype=np.bool_))
    _, row, left, right = cut_at_lines(start, end, width_px)
    return Crop(*_painted(row, left, right))


def _runs_in_lines(pixels: Bools) -> tuple[Ints, Ints, Ints]:
    """Line, start and end of the runs in each line of bool [lines, places], in order."""
    padded = np.zeros((pixels.shape[0], pixels.shape[1] + 2), dtype=np.int8)
    padded[:, 1:-1] = pixels
    steps = np.diff(padded, axis=1)
    line, start = np.nonzero(steps == 1)
    _, end = np.nonzero(steps == -1)
    return line, start, end


def text_of_crop(crop: Crop, height_px: int, width_px: int) -> str:
    """COCO's text of a mask whose pixels are known where it lies; the crop lies inside of the picture."""
    column, top, bottom = _runs_in_lines(crop.pixels.T)
    base = (column + crop.left) * height_px + crop.top
    return text_of_runs(base + top, base + bottom, height_px, width_px)


def rows_of_crop(crop: Crop, width_px: int) -> tuple[Ints, Ints]:
    """Start and end of a mask's runs along the rows of the picture, int64 [n] each."""
    row, left, right = _runs_in_lines(crop.pixels)
    base = (row + crop.top) * width_px + crop.left
    return base + left, base + right


def texts_of_label_image(labels: NDArray[Any]) -> dict[int, str]:
    """The masks of a label image, by id, in the order of the ids.

    The cost grows with the picture, not with picture x cells. An id in several places stays one mask.

    Args:
        labels: Whole numbers [height, width]; 0 is the ground.

    Returns:
        Id -> COCO's text.
    """
    height_px, width_px = labels.shape
    flat = labels.ravel(order="F")
    if not flat.size:
        return {}
    edges = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1, [flat.size]])
    ids = flat[edges[:-1]]
    inside = np.flatnonzero(ids != 0)
    order = inside[np.argsort(ids[inside], kind="stable")]
    names, first = np.unique(ids[order], return_index=True)
    parts = np.split(order, first[1:]) if len(names) else []
    return {
        int(name): text_of_runs(edges[own], edges[own + 1], height_px, width_px)
        for name, own in zip(names, parts, strict=True)
    }


def merged(texts: Sequence[str], height_px: int, width_px: int) -> str:
    """The union of masks of one picture; of checked texts."""
    from pycocotools import mask as coco

    said = coco.merge([masks.as_coco(text, height_px, width_px) for text in texts])
    return str(said["counts"].decode("ascii"))
