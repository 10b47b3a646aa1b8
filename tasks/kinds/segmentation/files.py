"""Label files with masks and outlines. Which frame a file is about, is found out elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from tasks.config import Line
from tasks.kind import BadFile, LabelFile, Misplaced, Object
from tasks.kinds.segmentation import outlines
from tasks.kinds.segmentation.formats import coco, masks, yolo
from tasks.kinds.segmentation.formats.records import ForeignCell
from tasks.kinds.segmentation.labels import of_text, to_fill
from tasks.kinds.segmentation.runs import merged, text_of_crop
from tasks.metrics.masks import as_coco, boxes
from tasks.schemas import Frame

FOR_LINE = True
FORMATS: Mapping[str, Callable[[Path, Line], Iterator[LabelFile | BadFile]]] = {
    "masks": masks.read,
    "coco": lambda folder, line: coco.read(folder),
    "yolo": lambda folder, line: yolo.read(folder),
}
_MOST_TOLD = 3


def classes_in(labels: LabelFile) -> set[str]:
    """The classes of its cells, in the file's words."""
    return {cell.label for cell in labels.objects}


def place(labels: LabelFile, frame: Frame, line: Line) -> list[Object]:
    """A file's cells as masks of its frame; regions of many cells (`crowd`) as boxes that are marked so.

    Raises:
        Misplaced: A mask is of another size than the frame, an outline lies nowhere on it or crosses itself.
    """
    objects, faults = [], []
    for number, cell in enumerate(labels.objects, 1):
        try:
            objects.append(_placed(cell, labels.normalised, frame, line))
        except Misplaced as fault:
            faults.append(f"cell {number} {fault}")
    if faults:
        more = f"; and {len(faults) - _MOST_TOLD} more" if len(faults) > _MOST_TOLD else ""
        raise Misplaced("; ".join(faults[:_MOST_TOLD]) + more)
    return objects


def _placed(cell: ForeignCell, normalised: bool, frame: Frame, line: Line) -> Object:
    label = line.class_named(cell.label) or cell.label
    if cell.mask is not None:
        if (cell.width_px, cell.height_px) != (frame.width_px, frame.height_px):
            raise Misplaced(
                f"is a mask of {cell.width_px}x{cell.height_px} px, frame {frame.frame_index} has "
                f"{frame.width_px}x{frame.height_px} px"
            )
        text = cell.mask
    else:
        text = merged([_drawn(each, normalised, frame) for each in cell.outlines], frame.height_px, frame.width_px)
    if not cell.crowd:
        return of_text(label, text, frame.width_px, frame.height_px)
    box = boxes([as_coco(text, frame.height_px, frame.width_px)])[0]
    return to_fill(label, *(float(side) for side in box)) | {"crowd": True}


def _drawn(outline: tuple[float, ...], normalised: bool, frame: Frame) -> str:
    points = np.array(outline, dtype=np.float64).reshape(-1, 2)
    if normalised:
        points *= (frame.width_px, frame.height_px)
    if outlines.crosses_itself(points):
        raise Misplaced("has an outline that crosses itself: nobody can tell what it encloses")
    crop = outlines.filled(points, frame.width_px, frame.height_px)
    if not crop.pixels.any():
        x, y = points.min(axis=0)
        raise Misplaced(f"has an outline that covers no pixel of the picture (from x {x:g}, y {y:g} px on)")
    return text_of_crop(crop, frame.height_px, frame.width_px)
