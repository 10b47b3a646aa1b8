"""Readers of existing label files, one module per format; each yields a `LabelFile` or a `BadFile` per labelled image.

Nothing is matched here: which recording and frame an image is, `tasks.labeling.importing` finds out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from tasks.labeling.formats import coco, voc, yolo
from tasks.labeling.formats.records import BadFile, ForeignBox, LabelFile

Format = Literal["voc", "coco", "yolo"]

READERS: Mapping[Format, Callable[[Path], Iterator[LabelFile | BadFile]]] = {
    "voc": voc.read,
    "coco": coco.read,
    "yolo": yolo.read,
}

__all__ = ["READERS", "BadFile", "ForeignBox", "Format", "LabelFile"]
