"""Optional: what only a kind can say of where its model fails: `nightscope diagnose`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from tasks.config import Line
from tasks.kind.objects import Row
from tasks.kind.prediction import ModelRef
from tasks.schemas import Frozen, Oid

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.lake import Lake
    from tasks.metrics.threshold import Claims


@dataclass(frozen=True)
class Answered:
    """What one model predicted of frames that it has not learned from.

    Attributes:
        who: The model, in words.
        frames: Manifest rows.
        predictions: Of these frames, as the kind's `Metrics.tabulate` made them.
    """

    who: str
    frames: Sequence[Row]
    predictions: pa.Table


class DoubtfulLabel(Frozen):
    """A place in a frame, or a whole picture, that a person should look at again."""

    sort: Literal["unlabelled", "otherwise", "unfound"]
    """A confident prediction without a label; a label that models call otherwise; one that none finds at any score."""
    frame_oid: Oid
    recording_id: Oid
    recording_name: str
    frame_index: int
    label: str | None
    """As it is labelled; None: not at all."""
    likely: str | None
    """What the models say; None: nothing."""
    score: float
    models: int
    """How many were asked about the frame; all of them agree."""
    box_px: tuple[float, float, float, float] | None = None
    """x, y, width, height; None: the whole picture."""
    link: str | None = None
    """Its labeling task in Label Studio."""


class Diagnosis(Protocol):
    """What a model's predictions say beyond its metrics."""

    def claims(self, predictions: pa.Table, frames: Sequence[Row], line: Line) -> Claims | None:
        """All that a model claims, right or wrong, with its scores; None where no score threshold decides."""
        ...

    def shown_from(self, lake: Lake, model: ModelRef, line: Line) -> float:
        """From which score on users of this model are shown what it claims."""
        ...

    def doubtful_labels(self, answers: Sequence[Answered], line: Line) -> list[DoubtfulLabel]:
        """Labels that every model which was asked contradicts, the most certain first.

        Args:
            answers: Of models that have not learned from the frames; the same frame may stand in several.
            line: Whose classes count.
        """
        ...
