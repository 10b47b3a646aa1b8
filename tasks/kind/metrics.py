"""Predictions judged: the numbers, and the frames drawn for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tasks.config import Line
from tasks.kind.objects import Image, Row
from tasks.schemas import Frozen, Oid

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from tasks.metrics.judgement import Judgement, Metric


class Shape(Frozen):
    """One drawn object: a closed outline in pixels of the frame, and how it fared."""

    points: tuple[tuple[float, float], ...]
    label: str
    state: Literal["right", "wrong", "missed"]
    score: float | None = None


class PictureLabel(Frozen):
    """What was labelled and predicted of a whole picture, for one class."""

    label: str
    labelled: bool | None
    """Whether the picture shows it; None: nobody said."""
    predicted: bool
    score: float | None = None
    """The predicted probability that it does."""

    @property
    def state(self) -> Literal["right", "wrong", "missed", "unknown"]:
        """How the prediction fared; 'wrong': claimed, and not there."""
        if self.labelled is None:
            return "unknown"
        return "right" if self.labelled == self.predicted else "wrong" if self.predicted else "missed"


class FrameView(Frozen):
    """One frame with what was labelled and what was predicted, to be drawn side by side.

    What was labelled and predicted are outlines, or, of a whole picture, what `whole` has for each class.
    """

    frame_oid: Oid
    recording_name: str
    frame_index: int
    pts_s: float | None
    width_px: int
    height_px: int
    errors: int
    labelled: tuple[Shape, ...] = ()
    predicted: tuple[Shape, ...] = ()
    whole: tuple[PictureLabel, ...] = ()


class Metrics(Protocol):
    """Numbers. `frames` are manifest rows; an image's index is its place among them.

    `LEARNED_BY`, optional, names the metric that `NOTHING` is about; else it is the first of `METRICS`.
    """

    METRICS: tuple[Metric, ...]
    """All that gates and reports may name; the first is the main one."""
    NOTHING: float
    """Below this, of the metric `LEARNED_BY`, a model has learned nothing of a class."""

    def slices(self, line: Line) -> dict[str, tuple[str, ...]]:
        """Families of slices that metrics are also measured in, and their names, e.g. {'size': ('small', ...)}."""
        ...

    def tabulate(
        self, outputs: Sequence[Any], frames: Sequence[Row], model_classes: Sequence[str], line: Line
    ) -> pa.Table:
        """A predictor's raw outputs, one for each frame, as rows to be stored, units in the columns' names."""
        ...

    def judge(self, predictions: pa.Table, frames: Sequence[Row], line: Line) -> Judgement:
        """Score stored predictions against the frames' labels."""
        ...


class Drawing(Protocol):
    """Frames for the report."""

    def views(
        self, predictions: pa.Table, frames: Sequence[Row], line: Line, judgement: Judgement, images: Sequence[int]
    ) -> list[FrameView]:
        """Some frames, by their places among `frames`, ready to be drawn."""
        ...


class Saliency(Protocol):
    """What of an image speaks for a class."""

    def heat(self, predictor: Any, image: Image, class_index: int) -> NDArray[np.float32] | None:
        """How much each pixel speaks for a class: float32 [height, width] of the image, from 0 to 1.

        Args:
            predictor: As `Predictors.load` gave it.
            image: BGR, uint8, [height, width, 3].
            class_index: In the model's order of classes.

        Returns:
            None: this model cannot be asked.
        """
        ...
