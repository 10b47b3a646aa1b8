"""Export a model for use elsewhere: make it, compare it with its original, time both, and only then attach it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from tasks.config import Line, Settings
from tasks.errors import ConfigError, InsufficientData, NotFound
from tasks.kind import Exports, Kind
from tasks.kind.exports import Precision
from tasks.kinds import kind_of, kinds
from tasks.lake import Lake
from tasks.lake.locks import lake_lock
from tasks.lake.signed import keep, kept
from tasks.promotion.in_charge import champion_now
from tasks.registry.models import ModelRecord, Registry
from tasks.schemas import Oid, digest
from tasks.session import Session
from tasks.training.exported import ExportRecord, export_version, label

log = logging.getLogger(__name__)


class ExportedModel(ExportRecord):
    """An export that was made now or before, and whether it may stand in for the model."""

    accepted: bool
    reasons: tuple[str, ...]
    """Why it was refused; empty: it was accepted."""
    found: bool
    """It had been exported before."""
    label: str
    record_oid: Oid | None
    """None: it was refused."""

    @model_serializer(mode="wrap")
    def _without_a_record(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What was refused has no record, and its JSON no such key."""
        content: dict[str, Any] = serialise(self)
        return content if self.record_oid else {key: value for key, value in content.items() if key != "record_oid"}


def export_model(
    session: Session,
    name: str,
    fmt: str,
    *,
    precision: Precision = "fp32",
    version: str | None = None,
    max_ap_loss: float | None = None,
) -> ExportedModel:
    """Export a version of the line's model, check it against the original on the test split, and attach it.

    Args:
        session: Whose lake and registry.
        name: The line.
        fmt: One of the kind's `FORMATS`.
        precision: Of its weights; int8 is calibrated on frames of the training split.
        version: Of the line's model; default the champion.
        max_ap_loss: How much average precision the export may lose, instead of the usual tolerance.

    Raises:
        ConfigError: The format does not exist, cannot be made here, or does not come in that precision.
        NotFound: The line has no champion, or no such version.
        InsufficientData: There is no test split to check it on, or no training frames to calibrate with.
        StepFailed: The exporter failed.
    """
    settings, lake, registry, line = session.settings, session.lake, session.registry, session.line(name)
    kind = kind_of(line.kind)
    exports = kind.exports
    if exports is None:
        able = [each.name for each in kinds() if each.exports]
        raise ConfigError(f"line {name}: models of kind {kind.name} cannot be exported", expected=", ".join(able))
    known = exports.check_supported(fmt, precision)
    tolerance = exports.tolerance(precision, max_ap_loss)
    model = _version(lake, registry, name, version)
    parts = (
        model.about.model_dump(mode="json"),
        line.evaluation.model_dump(mode="json"),
        tolerance,
        export_version(kind.name),
    )
    key = f"exports/{name}/{model.version}/{label(known, precision)}-{digest(*parts)}.json"
    with lake_lock(settings, f"export-{name}"):
        found = _found(lake, line.line, key)
        if found is None:
            record = _made_and_checked(settings, lake, line, kind, exports, model, known, precision, tolerance)
            if reasons := exports.refusals(record):
                return _report(record, None, found=False, reasons=reasons)
            oid = lake.blobs.put_json(record.model_dump(mode="json"))
            keep(lake, "export", line.line, key, {"record_oid": oid})
        else:
            oid, record = found
        _attach(lake, registry, model, record, oid)
    return _report(record, oid, found=found is not None)


def load_record(lake: Lake, record_oid: Oid) -> ExportRecord:
    """Read an export's record, as its tag in MLflow names it. `predictors.export_reference` makes a model of it.

    Raises:
        NotFound: The lake does not hold it.
        IntegrityError: Its bytes are not what the oid says.
    """
    return ExportRecord.model_validate_json(lake.blobs.get_bytes(record_oid))


def _version(lake: Lake, registry: Registry, name: str, version: str | None) -> ModelRecord:
    from tasks.training.records import vouched

    if version is not None:
        return vouched(lake, registry.version(name, version))
    champion = champion_now(lake, registry, name)
    if champion is None:
        raise NotFound(f"line {name} has no champion", fix="name a version with --to, or promote one first")
    return vouched(lake, champion)


def _found(lake: Lake, line: str, key: str) -> tuple[Oid, ExportRecord] | None:
    filed = kept(lake, "export", line, key)
    return (str(filed["record_oid"]), load_record(lake, filed["record_oid"])) if filed else None


def _made_and_checked(
    settings: Settings, lake: Lake, line: Line, kind: Kind, exports: Exports, model: ModelRecord, fmt: str,
    precision: Precision, tolerance: dict[str, float],
) -> ExportRecord:  # fmt: skip
    """The export with its checks. Its files are blobs that nothing names yet: refused, they are garbage."""
    from tasks.evaluation.evaluate import evaluate, frames_of_test_split, stored_predictions
    from tasks.evaluation.predict import hardware
    from tasks.steps.predictors import export_reference, reference

    frames = frames_of_test_split(lake, line, model.dataset_version)
    folder = (settings.work_dir / "exports" / f"{line.line}-{model.version}-{label(fmt, precision)}").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        manifest = lake.datasets.load(line.line, model.dataset_version).rows.to_pylist()
        training = [row for row in manifest if row["split"] == "train"]
        if not training:
            raise InsufficientData(f"dataset version {model.dataset_version[:12]} has no training frames")
        export = exports.make(lake, model.about, fmt, precision, training, folder)
        log.info(f"exported model version {model.version} of line {line.line} to {export.label}; comparing the two")
        record = ExportRecord(
            line=line.line,
            kind=line.kind,
            model_version=model.version,
            weights_oid=model.weights_oid,
            dataset_version=model.dataset_version,
            classes=model.about.classes,
            imgsz=model.about.imgsz,
            predict=model.about.predict,
            export=export,
            tolerance=tolerance,
            checks={},
            benchmark={},
            evaluation_oid="",
            code_version=export_version(kind.name),
            hardware=hardware("cpu"),
        )
        oid, evaluation = evaluate(
            lake,
            line,
            model.dataset_version,
            kind=kind,
            challenger=export_reference(record),
            champion=reference(model),
            load=lambda which, _: kind.predictors.load(lake, which, "cpu"),
        )
        timed = exports.benchmark(lake, record, frames, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    stored = [
        stored_predictions(lake, result.predictions_oid)
        for result in (evaluation.champion, evaluation.challenger)
        if result
    ]
    checks = exports.checks(line, evaluation, stored[0], stored[1], frames, model.about.predict)
    return record.model_copy(update={"checks": checks, "benchmark": timed, "evaluation_oid": oid})


def _attach(lake: Lake, registry: Registry, model: ModelRecord, record: ExportRecord, record_oid: Oid) -> None:
    from tasks.registry.exports import attach

    files: Mapping[str, Oid] = record.export.files | {"record.json": record_oid}
    attach(registry, model, record.export.label, {n: lake.blobs.fetch(oid) for n, oid in files.items()}, record_oid)


def _report(record: ExportRecord, oid: Oid | None, *, found: bool, reasons: Sequence[str] = ()) -> ExportedModel:
    return ExportedModel(
        accepted=not reasons,
        reasons=tuple(reasons),
        found=found,
        label=record.export.label,
        record_oid=oid,
        **record.model_dump(),
    )
