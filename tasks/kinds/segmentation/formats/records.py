"""A labelled cell as a file has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.kinds.segmentation.outlines import MAX_POINTS

Outline = tuple[float, ...]
"""x, y, x, y, ...: plain numbers, so that files can be compared."""


@dataclass(frozen=True)
class ForeignCell:
    """A labelled cell as the file has it: the label by the file's name for it, either a mask or outlines.

    Attributes:
        mask: COCO's text of run lengths of the whole picture.
        height_px: Of the picture of `mask`.
        width_px: As `height_px`.
        outlines: In the file's unit; the cell is all of them together.
        crowd: Whether it marks a region of many cells that were not drawn one by one.
    """

    label: str
    mask: str | None = None
    height_px: int = 0
    width_px: int = 0
    outlines: tuple[Outline, ...] = ()
    crowd: bool = False


def outline_of(values: Sequence[float], what: str = "an outline") -> Outline:
    """x, y, x, y, ... as an outline.

    Raises:
        ValueError: It has too few points, too many, or an odd number of values.
    """
    if len(values) % 2 or not 6 <= len(values) <= 2 * MAX_POINTS:
        raise ValueError(f"{what} of {len(values)} values, expected x y of 3 to {MAX_POINTS} points")
    return tuple(values)
