"""From a registered model, or an export of one, to what evaluation needs to know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.kind import ModelRef
from tasks.registry.models import ModelRecord

if TYPE_CHECKING:
    from tasks.training.exported import ExportRecord


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
