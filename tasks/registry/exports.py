"""Exports of a model version in MLflow: files among its run's artifacts, a tag that names the record in the lake."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tasks.registry.connection import speaking
from tasks.registry.models import ModelRecord, Registry
from tasks.schemas import Oid

TAG = "nightscope.export."


def attach(registry: Registry, model: ModelRecord, label: str, files: Mapping[str, Path], record_oid: Oid) -> None:
    """Attach an export to a model version; the same again changes nothing. The tag comes last.

    Args:
        registry: Where the version is.
        model: The version.
        label: What the export is called, e.g. 'openvino-int8'; an earlier one of that name is replaced.
        files: By name; shown under `exports/<label>/`.
        record_oid: The blob that says what was exported and how it was checked.

    Raises:
        ServiceUnavailable: MLflow did not answer.
    """
    if attached(registry, model).get(label) == record_oid:
        return
    registry.runs.log_files(model.mlflow_run, {f"exports/{label}/{name}": path for name, path in files.items()})
    with speaking(registry.url, f"export {label} of model {model.line} version {model.version}"):
        registry.client.set_model_version_tag(model.line, model.version, f"{TAG}{label}", record_oid)


def attached(registry: Registry, model: ModelRecord) -> dict[str, Oid]:
    """The exports of a model version: label -> oid of its record.

    Raises:
        ServiceUnavailable: MLflow did not answer.
    """
    with speaking(registry.url, f"version {model.version} of model {model.line}"):
        tags = registry.client.get_model_version(model.line, model.version).tags
    return {name.removeprefix(TAG): str(oid) for name, oid in sorted(tags.items()) if name.startswith(TAG)}
