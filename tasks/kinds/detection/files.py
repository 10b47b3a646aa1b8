"""Label files with boxes: Pascal VOC, COCO, YOLO. Which recording and frame a file is about, is found out elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tasks.config import Line
from tasks.kind import BadFile, LabelFile, Misplaced, Object
from tasks.kinds.detection.boxes import Box
from tasks.kinds.detection.formats import coco, voc, yolo
from tasks.schemas import Frame

FORMATS: Mapping[str, Callable[[Path], Iterator[LabelFile | BadFile]]] = {
    "voc": voc.read,
    "coco": coco.read,
    "yolo": yolo.read,
}
_STICKS_OUT_PX = 1.0 + 1e-6


def classes_in(labels: LabelFile) -> set[str]:
    """The classes of its boxes, in the file's words."""
    return {box.label for box in labels.objects}


def place(labels: LabelFile, frame: Frame, line: Line) -> list[Object]:
    """A file's boxes in pixels of its frame.

    One that sticks out of the frame by a pixel at most is cut off there: tools count pixels from 0 or 1, or round. One
    that sticks out further stays: validation judges it.

    Raises:
        Misplaced: A box lies nowhere on the frame, or was measured on a picture of another size.
    """
    _all_on(labels, frame)
    across, down = (frame.width_px, frame.height_px) if labels.normalised else (1, 1)
    placed = []
    for box in labels.objects:
        x_px, width_px = _cut(box.x * across, box.width * across, frame.width_px)
        y_px, height_px = _cut(box.y * down, box.height * down, frame.height_px)
        name = line.class_named(box.label) or box.label
        own = Box(label=name, x_px=x_px, y_px=y_px, width_px=width_px, height_px=height_px, crowd=box.crowd)
        placed.append(own.as_object())
    return placed


def _cut(first: float, length: float, side_px: int) -> tuple[float, float]:
    """Where a box begins along one side of the frame, and how long it is; what sticks out a little is cut off."""
    last = first + length
    begins = 0.0 if -_STICKS_OUT_PX <= first < 0 < last else first
    ends = float(side_px) if first < side_px < last <= side_px + _STICKS_OUT_PX else last
    return round(begins, 6), round(length if (begins, ends) == (first, last) else ends - begins, 6)


def _all_on(labels: LabelFile, frame: Frame) -> None:
    width_px, height_px = (1, 1) if labels.normalised else (frame.width_px, frame.height_px)
    for number, box in enumerate(labels.objects, 1):
        if box.picture_px not in (None, (frame.width_px, frame.height_px)):
            of, size = "{}x{}".format(*box.picture_px), f"{frame.width_px}x{frame.height_px} px"
            raise Misplaced(
                f"the mask of box {number} is of a picture of {of} px (frame {frame.frame_index} has {size})"
            )
        if box.x >= width_px or box.y >= height_px or box.x + box.width <= 0 or box.y + box.height <= 0:
            where = f"left {box.x:g}, top {box.y:g}, width {box.width:g}, height {box.height:g}"
            size = f"{frame.width_px}x{frame.height_px} px"
            raise Misplaced(f"box {number} lies outside of the picture ({where}; frame {frame.frame_index} has {size})")
