"""A trained model at work: loaded, served, and what a person is given of its predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import Field

from tasks.config import Line
from tasks.kind.objects import Image, Object, Row
from tasks.schemas import Frozen, Oid

if TYPE_CHECKING:
    from tasks.lake import Lake


class ModelRef(Frozen):
    """A model to be judged: enough to load it, and to say later which one it was."""

    model_version: str = Field(description="In the registry; for a challenger not yet registered, any name for it.")
    weights_oid: Oid
    classes: tuple[str, ...] = Field(description="Names by the model's own class index; may differ from the line's.")
    dataset_version: str | None = Field(default=None, description="What it was trained on.")
    mlflow_run: str | None = None
    options: dict[str, Any] = Field(default_factory=dict, description="What its kind's predictor needs, e.g. imgsz.")


class Predictor(Protocol):
    """A loaded model."""

    @property
    def device(self) -> str:
        """Where it runs: 'cpu', 'cuda:0'."""
        ...

    def predict(self, images: Sequence[Image]) -> Sequence[Any]:
        """A prediction for each BGR uint8 image [H, W, 3], in order, in the form that `Metrics.tabulate` takes.

        Low scores are included: metrics over all thresholds need them.
        """
        ...


class Filling(Protocol):
    """Optional: completes what a person only began, such as a box without its outline.

    Objects with `"to_fill": true` are such (but for those with `"crowd": true`, which hold many). They count as no
    label, whatever the kind; `nightscope labels fill` has the line's champion complete them, and puts the answers
    before the annotators as predictions. A kind whose models are shown pictures as they were taken has
    `original_of(recording, line)` beside this: the oid of that picture, or None where the frame shows all of it.
    """

    def fill(self, predictor: Any, image: Image, objects: Sequence[Object]) -> list[Object]:
        """Complete objects of one image.

        Args:
            predictor: As `Predictors.load` gave it.
            image: BGR, uint8, [H, W, 3]: what they were drawn on; or what the predictor's `read_original` gave.
            objects: Those to fill.

        Returns:
            One for each, in order: completed, without `to_fill`; or as it came, where the model finds nothing there.

        Raises:
            ConfigError: This model cannot be asked.
        """
        ...


class Predictors(Protocol):
    """Trained models, loaded."""

    def load(self, lake: Lake, model: ModelRef, device: str | None) -> Predictor:
        """Load a model, its bytes checked against their oids first.

        Args:
            lake: Holds the weights.
            model: `options` has `imgsz` (px) and `predict` as its recipe said; `files` (name -> oid) for an export.
            device: 'cpu', 'cuda:0'; None: the best one there is.
        """
        ...


@dataclass(frozen=True)
class Served:
    """A model as MLflow serves it.

    Attributes:
        code: The models-from-code file: stands alone, ends in `set_model(...)`. It finds the artifacts `weights` and
            `model` (model.json: classes, imgsz, predict, weights_sha256), and `modules` under their files' stems.
        modules: Python files that it needs beside it.
        weights_name: What the file of weights is called; libraries go by the suffix.
        requirements: Distributions that it needs; pinned to the versions installed here.
        columns: Of the table that it returns: name -> 'double', 'long' or 'string'.
        any_input: It takes more than one image array (paths, bytes, several): its signature then names no input.
    """

    code: Path
    columns: Mapping[str, str]
    any_input: bool = False
    modules: tuple[Path, ...] = ()
    weights_name: str = "weights.pt"
    requirements: tuple[str, ...] = ("mlflow", "numpy", "pandas")


class ServedModel(Protocol):
    """How the kind's models are served."""

    SERVED: Served


class Answers(Protocol):
    """What `nightscope predict` and `serve` give of a prediction. Without this part: what `tabulate` makes of it."""

    def columns(self, line: Line) -> tuple[str, ...]:
        """Names of a row's values, units in the names."""
        ...

    def rows(self, output: Any, model: ModelRef, line: Line, min_score: float | None) -> list[Row]:
        """A predictor's output for one image as rows: one for each thing it shows, or one for the image.

        Args:
            output: Of the predictor.
            model: Whose.
            line: Whose classes count.
            min_score: Leave out, or take for absent, what scores lower; None: as the line or the model says.
        """
        ...
