"""Optional: models for other runtimes, and the comparison of two files of weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tasks.config import Line
from tasks.kind.objects import Row
from tasks.schemas import Oid

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.lake import Lake

Precision = Literal["fp32", "fp16", "int8"]
"""Of an export's weights."""


class Exports(Protocol):
    """Models for other runtimes: made, compared with their originals, and timed beside them."""

    FORMATS: tuple[str, ...]

    def check_supported(self, fmt: str, precision: Precision) -> str:
        """The format, if models can be exported to it.

        Raises:
            ConfigError: There is no such format, it does not come in that precision, or what makes it is missing.
        """
        ...

    def tolerance(self, precision: Precision, max_loss: float | None) -> dict[str, float]:
        """By how much an export may differ from its original.

        Raises:
            ConfigError: `max_loss` is not a number from 0 to 1.
        """
        ...

    def make(
        self, lake: Lake, about: Any, fmt: Any, precision: Precision, training: Sequence[Row], folder: Path
    ) -> Any:
        """Export a registered model (`about`: a `ModelAbout`); `training` are the manifest rows it learned from."""
        ...

    def benchmark(self, lake: Lake, record: Any, frames: Sequence[Row], folder: Path) -> dict[str, Any]:
        """Time original and export on test frames."""
        ...

    def checks(self, line: Line, evaluation: Any, original: pa.Table, export: pa.Table, frames: Sequence[Row],
               predict: Mapping[str, Any]) -> dict[str, Any]:  # fmt: skip
        """Compare predictions of both on the same frames."""
        ...

    def described(self, checks: Mapping[str, Any]) -> list[str]:
        """What `checks` found beside the metrics, in sentences."""
        ...

    def refusals(self, record: Any) -> list[str]:
        """Why an export is not the model that it was made of; empty: it is, within the tolerance."""
        ...


class Comparison(Protocol):
    """Two files of weights."""

    def compare_weights(self, first: Path, second: Path, oids: tuple[Oid, Oid]) -> Any:
        """Where they begin to differ: a `tasks.training.weights.WeightsComparison`."""
        ...
