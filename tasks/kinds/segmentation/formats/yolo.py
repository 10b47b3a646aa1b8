"""YOLO's outlines: `class x y x y x y ...` a line, as fractions of the image.

Lines with a score or a track's number behind the outline are refused, and so are boxes and poses. See
`tasks.labeling.formats.yolo` for the files themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tasks.kind import BadFile, LabelFile
from tasks.kinds.segmentation.formats.records import ForeignCell, outline_of
from tasks.labeling.formats.yolo import OUTSIDE, LineContext, read_files


def read(folder: Path) -> Iterator[LabelFile | BadFile]:
    """Every .txt file below a folder, by name.

    Raises:
        ConfigError: Nothing names the classes of any of them.
    """
    return read_files(folder, _cell, "cells")


def _cell(label: str, values: list[float], context: LineContext) -> ForeignCell:
    count, expected = len(values) + 1, "expected a class and x y of at least 3 points"
    if context.scheme.key_points is not None:
        raise ValueError(f"a pose (its data.yaml has kpt_shape {context.scheme.kpt_shape}), {expected}")
    if count == 5:
        raise ValueError(f"a box, {expected}; of a box alone a model cannot learn an outline")
    if count % 2 == 0 or count < 7:
        raise ValueError(f"{count} values, {expected}; remove the extra column (a score or a track's number)")
    if context.numbered:
        raise ValueError(
            f"{count} values of which the last is a whole number: a track's, as `yolo track` writes it, or an "
            "outline's last place; remove the extra columns (score, track), or write the place as 1.0"
        )
    if not all(-OUTSIDE <= value <= 1 + OUTSIDE for value in values):
        raise ValueError("an outline with a place outside the image, expected fractions of the image, 0 to 1")
    return ForeignCell(label, outlines=(outline_of(values),))
