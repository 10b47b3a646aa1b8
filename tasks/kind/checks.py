"""Which labels may be learned from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tasks.config import Line
from tasks.kind.objects import Object, Row
from tasks.schemas import Frame, Oid

if TYPE_CHECKING:
    import pandas as pd

    from tasks.metrics.label_agreement import LabelAgreement


@dataclass(frozen=True)
class Surroundings:
    """What a kind may ask of the annotations that it judges, beside what stands in them.

    Attributes:
        called: An annotation's frame as people call it.
        standing: Of several annotations of one frame, the one that compares highest counts.
        picture: The bytes of a frame's image by its oid.
    """

    called: Callable[[Row], str]
    standing: Callable[[Row], Any]
    picture: Callable[[Oid], bytes]


class Checks(Protocol):
    """Which objects may be learned from.

    A kind may have `unfinished(objects)` beside these: why a frame with objects like these belongs to no dataset yet,
    though nothing is wrong with it (a phrase after 'left out until somebody finishes them: '); None: it does.

    A kind may say `JUDGED_ALONE = True`: then what passed is not judged again on later nights. It promises that what
    the suite finds of an annotation follows from this annotation and its frame, and that `notes` of many frames are
    those of the frames that have any by themselves.
    """

    SUITE: str
    """The suite's name: `<SUITE>.json` in the kind's own `expectations/`, else in the installation's."""
    TITLE: str
    """What the suite is called in the report."""

    def parameters(self, line: Line) -> dict[str, Any]:
        """The suite's parameters for a line."""
        ...

    def labels_table(self, annotations: Sequence[Row], frames: Mapping[tuple[Oid, int, Oid], Frame]) -> pd.DataFrame:
        """What the suite looks at: a row for each object, with its `row_id` and `label`.

        A kind whose frames must bear an object adds a row (`row_id` of number 0) for an annotation that has none.
        A kind that compares frames with each other has `compared_table(annotations, frames, surroundings)` beside
        this, with a `Surroundings`, which is then called in its place.

        Args:
            annotations: Rows of the table `annotations`, `objects` parsed.
            frames: By (recording id, frame index, oid); all that the annotations name.
        """
        ...

    def row_id(self, annotation_id: str, number: int) -> str:
        """The row id of an annotation's object, counted from 0."""
        ...

    def cleaned(self, objects: Sequence[Object], frame: Frame) -> list[Object]:
        """Objects that passed, in the form that manifests keep."""
        ...

    def counted(self, objects: Sequence[Object]) -> list[Object]:
        """Those of a frame's objects that count as one label each."""
        ...

    def is_learned_from(self, objects: Sequence[Object]) -> bool:
        """Whether a training takes a frame with these objects."""
        ...

    def notes(self, frames: Sequence[Sequence[Object]]) -> list[str]:
        """What a person should know of the accepted frames' objects, a sentence each."""
        ...

    def agreement(self, first: Sequence[Object], second: Sequence[Object], line: Line) -> list[LabelAgreement]:
        """How far two people agree on one frame: counts for each class of the line, in its order."""
        ...

    def described(self, item: Object) -> str:
        """An object in a few words, for the list of what was set aside."""
        ...
