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


def classes_in(labels: LabelFile) -> set[str]:
    """The classes of its boxes, in the file's words."""
    return {box.label for box in labels.objects}


def place(labels: LabelFile, frame: Frame, line: Line) -> list[Object]:
    """A file's boxes in pixels of its frame. One that sticks out of the frame stays: validation judges it.

    Raises:
        Misplaced: A box lies nowhere on the frame.
    """
    _all_on(labels, frame)
    across, down = (frame.width_px, frame.height_px) if labels.normalised else (1, 1)
    return [
        Box(
            label=line.class_named(box.label) or box.label,
            x_px=round(box.x * across, 6),
            y_px=round(box.y * down, 6),
            width_px=round(box.width * across, 6),
            height_px=round(box.height * down, 6),
            crowd=box.crowd,
        ).as_object()
        for box in labels.objects
    ]


def _all_on(labels: LabelFile, frame: Frame) -> None:
    width_px, height_px = (1, 1) if labels.normalised else (frame.width_px, frame.height_px)
    for number, box in enumerate(labels.objects, 1):
        if box.x >= width_px or box.y >= height_px or box.x + box.width <= 0 or box.y + box.height <= 0:
            where = f"left {box.x:g}, top {box.y:g}, width {box.width:g}, height {box.height:g}"
            size = f"{frame.width_px}x{frame.height_px} px"
            raise Misplaced(f"box {number} lies outside of the picture ({where}; frame {frame.frame_index} has {size})")
