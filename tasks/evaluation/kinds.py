"""Which adapter speaks for which kind of line. A new kind adds its metrics module, its adapter, and one entry here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tasks.config import Line
from tasks.errors import ConfigError
from tasks.metrics.judgement import Judgement, Metric

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.evaluation.evaluation import FrameView


class Kind(Protocol):
    """What evaluation needs of a kind of line. `frames` are manifest rows; an image's index is its place among them."""

    name: str
    metrics: tuple[Metric, ...]

    def slices(self, line: Line) -> dict[str, tuple[str, ...]]:
        """Families of slices that metrics are also measured in, and their names, e.g. {'size': ('small', ...)}."""
        ...

    def tabulate(
        self, outputs: Sequence[Any], frames: Sequence[dict[str, Any]], model_classes: Sequence[str], line: Line
    ) -> pa.Table:
        """A predictor's raw outputs, one for each frame, as rows to be stored, units in the columns' names."""
        ...

    def judge(self, predictions: pa.Table, frames: Sequence[dict[str, Any]], line: Line) -> Judgement:
        """Score stored predictions against the frames' labels."""
        ...

    def views(
        self,
        predictions: pa.Table,
        frames: Sequence[dict[str, Any]],
        line: Line,
        judgement: Judgement,
        images: Sequence[int],
    ) -> list[FrameView]:
        """Some frames, ready to be drawn."""
        ...


def kind_of(name: str) -> Kind:
    """The adapter of a kind.

    Raises:
        ConfigError: There is no evaluation for this kind yet.
    """
    kinds = _kinds()
    if name not in kinds:
        raise ConfigError(f"kind {name!r}: cannot be evaluated", expected=f"one of: {', '.join(kinds)}")
    return kinds[name]


def _kinds() -> dict[str, Kind]:
    from tasks.evaluation.detection import DetectionKind

    known: tuple[Kind, ...] = (DetectionKind(),)
    return {kind.name: kind for kind in known}
