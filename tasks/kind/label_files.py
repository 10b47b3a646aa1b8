"""Labels as other tools write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tasks.config import Line
from tasks.kind.objects import Object
from tasks.schemas import Frame, Oid

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class LabelFile:
    """The labels of one image, as a file of another tool has them.

    Attributes:
        file: What to call it before the user: path relative to the folder, and the image where a file holds several.
            The folders in it tell pictures of one name apart.
        image: The image's name without folders and suffix: '<recording stem>_<frame>', or a picture's of a folder.
        objects: What the kind's reader found, in the reader's own terms; only its kind looks into it. Possibly none.
        normalised: Whether places are fractions of the image's size; else pixels.
        width_px: The image's size as the file states it; None where it does not.
        height_px: As `width_px`.
        picture_oid: sha256 of the picture's own bytes, where they lie beside the labels: a still of these bytes is the
            one that is meant, whatever it is called.
    """

    file: str
    image: str
    objects: tuple[Any, ...]
    normalised: bool = False
    width_px: int | None = None
    height_px: int | None = None
    picture_oid: Oid | None = None


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


class Misplaced(Exception):
    """A label file that cannot be about its frame; the text says why."""


class Files(Protocol):
    """Label files of other tools."""

    FORMATS: Mapping[str, Callable[..., Iterator[LabelFile | BadFile]]]
    """Format -> reads every such file below a folder. Possibly empty: such a kind is labelled in Label Studio only.

    A reader is called with the folder; with the folder and the line where the module has `FOR_LINE = True`.
    """

    def classes_in(self, labels: LabelFile) -> set[str]:
        """The classes that a file names, in the file's words."""
        ...

    def place(self, labels: LabelFile, frame: Frame, line: Line) -> list[Object]:
        """A file's labels as objects of its frame, under the line's names for their classes.

        Raises:
            Misplaced: It cannot be about this frame.
        """
        ...
