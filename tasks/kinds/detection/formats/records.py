"""A labelled box as a file has it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ForeignBox:
    """A labelled box as the file has it: the label by the file's name for it, places in the file's unit.

    Attributes:
        x: Left edge.
        y: Top edge.
        crowd: Whether it marks a region of many objects that were not boxed one by one.
        picture_px: Width and height of the picture that it was measured on, where it comes from a mask.
    """

    label: str
    x: float
    y: float
    width: float
    height: float
    crowd: bool = False
    picture_px: tuple[int, int] | None = None
