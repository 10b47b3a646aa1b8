"""From a registered model, or an export of one, to a predictor that evaluation can use.

A kind of line is one entry here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tasks.config import Line
from tasks.errors import ConfigError
from tasks.evaluation.evaluation import ModelRef
from tasks.evaluation.predict import Image, LoadPredictor, Predictor
from tasks.lake import Lake
from tasks.registry.models import ModelRecord

if TYPE_CHECKING:
    from tasks.training.export import ExportRecord

SCORES_FROM = 0.001
"""Average precision needs nearly all boxes, not just those that a user would be shown."""


def reference(record: ModelRecord) -> ModelRef:
    """What evaluation needs to know of a registered model."""
    return ModelRef(
        model_version=record.version,
        weights_oid=record.weights_oid,
        classes=record.about.classes,
        dataset_version=record.dataset_version,
        mlflow_run=record.mlflow_run,
        options={"imgsz": record.about.imgsz, "predict": record.about.predict},
    )


def export_reference(record: ExportRecord) -> ModelRef:
    """What evaluation, or whoever else predicts, needs to know of an export. Its predictor runs on the CPU."""
    export = record.export
    return ModelRef(
        model_version=f"{record.model_version} as {export.label}",
        weights_oid=export.weights_oid,
        classes=record.classes,
        dataset_version=record.dataset_version,
        options={"imgsz": record.imgsz, "predict": record.predict, "files": export.files},
    )


def loader(lake: Lake, line: Line) -> LoadPredictor:
    """A function that loads the line's models.

    Raises:
        ConfigError: Nothing can load models of the line's kind.
    """
    if line.kind not in _LOADERS:
        raise ConfigError(f"line {line.line}: no predictor for lines of kind {line.kind}", expected=", ".join(_LOADERS))
    return lambda model, device: _LOADERS[line.kind](lake, model, device)


class _DetectorPredictor:
    """A detector as evaluation calls it: as weights, or as an export. It looks as often as its options say."""

    def __init__(self, lake: Lake, model: ModelRef, device: str | None) -> None:
        from tasks.training.detector import Detector
        from tasks.training.recipes import PredictOptions

        files = model.options.get("files")
        self._detector = Detector(
            {name: (lake.blobs.fetch(oid), oid) for name, oid in files.items()}
            if files
            else lake.blobs.fetch(model.weights_oid),
            oid=None if files else model.weights_oid,
            classes=model.classes,
            imgsz=model.options["imgsz"],
            predict=PredictOptions(**model.options["predict"]),
            device=device or "auto",
            config_dir=lake.settings.state_dir.resolve() / "ultralytics",
        )

    @property
    def device(self) -> str:
        return self._detector.device

    def predict(self, images: Sequence[Image]) -> Sequence[Any]:
        return self._detector.predict(images, conf=SCORES_FROM)


_LOADERS: dict[str, Callable[[Lake, ModelRef, str | None], Predictor]] = {"detection": _DetectorPredictor}
