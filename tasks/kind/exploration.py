"""Optional: what a person should see of a dataset before it is learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tasks.config import Line
from tasks.kind.objects import Row
from tasks.schemas import Frozen, Oid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


THUMBNAIL_PX = 96
"""Side of the squares that `Exploration.features` gets."""


class Histogram(Frozen):
    """How often values fall between edges; shown as shares of each series."""

    title: str
    x_title: str
    edges: tuple[float, ...]
    counts: dict[str, tuple[int, ...]]
    """Series -> one count for each pair of edges."""


class Curve(Frozen):
    """Values over others, as lines."""

    title: str
    x_title: str
    x: tuple[float, ...]
    series: dict[str, tuple[float, ...]]
    """Series -> one value for each of `x`, from 0 to 1."""
    marked_x: float | None = None
    """Where to look, a place of `x`."""


class ShownFrame(Frozen):
    """A frame, or a part of one, to be shown small."""

    frame_oid: Oid
    caption: str
    box_px: tuple[float, float, float, float] | None = None
    """x, y, width, height of the part; None: the whole frame."""
    mark: bool = False
    """Whether it is one to look at."""


class Section(Frozen):
    """A part of the exploration report: a table, histograms and pictures under a heading; what is empty is left out."""

    title: str
    note: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    histograms: tuple[Histogram, ...] = ()
    curves: tuple[Curve, ...] = ()
    frames: tuple[ShownFrame, ...] = ()
    to_check: int | None = None
    """How many labels a person should look at; None: this section looks for none."""


@dataclass(frozen=True)
class Part:
    """A place in a frame, to be compared with others.

    Attributes:
        label: What is there: a class of the line, or the kind's word for nothing.
        box_px: x, y, width, height.
        features: float32 [d], as many for every part.
    """

    label: str
    box_px: tuple[float, float, float, float]
    features: NDArray[np.float32]


class Exploration(Protocol):
    """Sections of the exploration report that only the kind can write. Without it: whole frames of each class.

    A kind whose labels are of parts of a frame may have two functions beside these: `parts(image, objects)`, the
    labelled `Part`s of a frame and some of nothing, computed once for each frame and its labels, for some frames of
    large datasets; and `part_sections(rows, parts, line)`, what they show, each with its frame's place among the rows.
    """

    def features(self, thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Values of pictures that `sections` needs: computed once for each frame and kept, in half precision.

        Args:
            thumbnails: [n, THUMBNAIL_PX, THUMBNAIL_PX, 3], BGR; pictures are squeezed to squares.

        Returns:
            [n, d]; d is 0 where it needs none.
        """
        ...

    def sections(self, rows: Sequence[Row], features: NDArray[np.float32], line: Line) -> list[Section]:
        """The kind's sections, in their order.

        Args:
            rows: Of the manifest; `objects` parsed.
            features: [rows, d], of each row's frame.
            line: Whose classes count.
        """
        ...
