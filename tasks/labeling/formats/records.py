"""What a reader of label files yields."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ForeignBox:
    """A labelled box as the file has it: the label by the file's name for it, places in the file's unit.

    Attributes:
        x: Left edge.
        y: Top edge.
        crowd: Whether it marks a region of many objects that were not boxed one by one.
    """

    label: str
    x: float
    y: float
    width: float
    height: float
    crowd: bool = False


@dataclass(frozen=True)
class LabelFile:
    """The labels of one image.

    Attributes:
        file: What to call it before the user: path relative to the folder, and the image where a file holds several.
        image: The image's name without folders and suffix: '<recording stem>_<frame>', or a picture's of a folder.
        boxes: Possibly none: an image with nothing on it.
        normalised: Whether places are fractions of the image's size; else pixels.
        width_px: The image's size as the file states it; None where it does not.
        height_px: As `width_px`.
    """

    file: str
    image: str
    boxes: tuple[ForeignBox, ...]
    normalised: bool = False
    width_px: int | None = None
    height_px: int | None = None


@dataclass(frozen=True)
class BadFile:
    """A label file, or a part of one, that cannot be read, and why.

    Attributes:
        file: As `LabelFile.file`.
        reason: What is wrong with it.
        image: As `LabelFile.image`; None where it is not known. The name counts even where the content does not.
    """

    file: str
    reason: str
    image: str | None = None
