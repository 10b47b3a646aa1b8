"""Export a model for use elsewhere: make it, compare it with its original, time both, and only then attach it."""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from tasks.config import Line, Settings
from tasks.errors import ConfigError, InsufficientData, NotFound
from tasks.evaluation.evaluation import Evaluation, ModelResult
from tasks.lake import Lake
from tasks.lake.locks import lake_lock
from tasks.lake.signed import keep, kept
from tasks.promotion.in_charge import champion_now
from tasks.registry.models import ModelRecord, Registry
from tasks.schemas import Oid, digest
from tasks.session import Session
from tasks.training.export import Calibration, Export, ExportRecord, Format

FULL = {"ap": 0.001, "corner_px_p95": 0.5, "unmatched_share": 0.005}
"""What an export in full precision may differ by: other kernels add up in another order, and that is all."""
INT8 = {"ap_loss": 0.02, "class_ap_loss": 0.05, "unmatched_share": 0.05}
"""What an export in int8 may lose. Its boxes may move: what that costs is in the average precision. But that is blind
to the scale of scores, so that the detections a user sees, above the operating score, must be nearly the same, too."""

log = logging.getLogger(__name__)

BENCHMARK_IMAGES = 25
COMPARED = ("AP50", "AP50_95")


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
    int8: bool = False,
    version: str | None = None,
    max_ap_loss: float | None = None,
) -> ExportedModel:
    """Export a version of the line's model, check it against the original on the test split, and attach it.

    Args:
        session: Whose lake and registry.
        name: The line.
        fmt: onnx, torchscript or openvino.
        int8: Quantise; calibrated on frames of the training split.
        version: Of the line's model; default the champion.
        max_ap_loss: How much average precision the export may lose, instead of the usual tolerance.

    Raises:
        ConfigError: The format does not exist, or has no int8.
        NotFound: The line has no champion, or no such version.
        InsufficientData: There is no test split to check it on, or no training frames to calibrate with.
        StepFailed: The exporter failed.
    """
    from tasks.training.export import check_supported, export_version, label

    known = check_supported(fmt, int8)
    tolerance = (INT8 if int8 else FULL) | _stricter(max_ap_loss, int8)
    settings, lake, registry, line = session.settings, session.lake, session.registry, session.line(name)
    if line.kind != "detection":
        raise ConfigError(f"line {name}: models of kind {line.kind} cannot be exported", expected="detection")
    model = _version(lake, registry, name, version)
    parts = (model.about.model_dump(mode="json"), line.evaluation.model_dump(mode="json"), tolerance, export_version())
    key = f"exports/{name}/{model.version}/{label(known, int8)}-{digest(*parts)}.json"
    with lake_lock(settings, f"export-{name}"):
        found = _found(lake, line.line, key)
        if found is None:
            record = _made_and_checked(settings, lake, line, model, known, int8, tolerance)
            if reasons := refusals(record):
                return _report(record, None, found=False, reasons=reasons)
            oid = lake.blobs.put_json(record.model_dump(mode="json"))
            keep(lake, "export", line.line, key, {"record_oid": oid})
        else:
            oid, record = found
        _attach(lake, registry, model, record, oid)
    return _report(record, oid, found=found is not None)


def refusals(record: ExportRecord) -> list[str]:
    """List why an export is not the model that it was made of; empty = it is, within the tolerance."""
    allowed, boxes, out = record.tolerance, record.checks["boxes"], []
    for name, found in record.checks["metrics"].items():
        lost = None if found["difference"] is None else -found["difference"]
        if lost is None:
            out.append(f"{name}: cannot be measured, the test split has no labels")
        elif "ap" in allowed and abs(lost) > allowed["ap"]:
            out.append(f"{name}: differs by {abs(lost):.4f}, allowed {allowed['ap']:g}")
        elif "ap_loss" in allowed and lost > allowed["ap_loss"]:
            out.append(f"{name}: loses {lost:.4f}, allowed {allowed['ap_loss']:g}")
    for name, found in record.checks["classes"].items():
        lost = -(found["difference"] or 0.0)
        if "class_ap_loss" in allowed and lost > allowed["class_ap_loss"]:
            out.append(f"AP50 of {name}: loses {lost:.4f}, allowed {allowed['class_ap_loss']:g}")
    if "corner_px_p95" in allowed and (boxes["corner_px_p95"] or 0.0) > allowed["corner_px_p95"]:
        out.append(f"boxes: moved by {boxes['corner_px_p95']:.2f} px (p95), allowed {allowed['corner_px_p95']:g}")
    if "unmatched_share" in allowed:
        unmatched = boxes["without_partner"] + boxes["extra"]
        if unmatched > allowed["unmatched_share"] * max(1, boxes["compared"]):
            out.append(
                f"boxes: {boxes['without_partner']} of {boxes['compared']} are missing and {boxes['extra']} are new, "
                f"allowed {allowed['unmatched_share']:.1%} together"
            )
    return out


def load_record(lake: Lake, record_oid: Oid) -> ExportRecord:
    """Read an export's record, as its tag in MLflow names it. `predictors.export_reference` makes a model of it.

    Raises:
        NotFound: The lake does not hold it.
        IntegrityError: Its bytes are not what the oid says.
    """
    return ExportRecord.model_validate_json(lake.blobs.get_bytes(record_oid))


def _stricter(max_ap_loss: float | None, int8: bool) -> dict[str, float]:
    if max_ap_loss is None:
        return {}
    if not 0 <= max_ap_loss <= 1:
        raise ConfigError(f"--max-ap-loss {max_ap_loss}", expected="a number from 0 to 1, e.g. 0.02")
    return {"ap_loss" if int8 else "ap": max_ap_loss}


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
    settings: Settings, lake: Lake, line: Line, model: ModelRecord, fmt: Format, int8: bool, tolerance: dict[str, float]
) -> ExportRecord:
    """The export with its checks. Its files are blobs that nothing names yet: refused, they are garbage."""
    from tasks.evaluation.evaluate import evaluate, frames_of_test_split
    from tasks.evaluation.predict import hardware
    from tasks.steps.predictors import export_reference, loader, reference
    from tasks.training.export import export_version, label

    frames = frames_of_test_split(lake, line, model.dataset_version)
    folder = (settings.work_dir / "exports" / f"{line.line}-{model.version}-{label(fmt, int8)}").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        export = _export(settings, lake, model, fmt, int8, folder)
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
            code_version=export_version(),
            hardware=hardware("cpu"),
        )
        load = loader(lake, line)
        oid, evaluation = evaluate(
            lake,
            line,
            model.dataset_version,
            challenger=export_reference(record),
            champion=reference(model),
            load=lambda which, _: load(which, "cpu"),
        )
        timed = _benchmark(settings, lake, record, frames, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    checks = _checks(lake, line, evaluation, frames, float(model.about.predict.get("conf", 0.25)))
    return record.model_copy(update={"checks": checks, "benchmark": timed, "evaluation_oid": oid})


def _export(settings: Settings, lake: Lake, model: ModelRecord, fmt: Format, int8: bool, folder: Path) -> Export:
    from tasks.provenance import library_versions
    from tasks.training.export import CALIBRATION_FRAMES, LIBRARIES, ExportJob, input_shape, make_export

    rows = lake.datasets.load(model.line, model.dataset_version).rows.to_pylist()
    training = [row for row in rows if row["split"] == "train"]
    if not training:
        raise InsufficientData(f"dataset version {model.dataset_version[:12]} has no training frames")
    frames = _spread(training, CALIBRATION_FRAMES) if int8 else []
    height, width = Counter((row["height_px"], row["width_px"]) for row in training).most_common(1)[0][0]
    paths = lake.blobs.fetch_many({row["frame_oid"] for row in frames})
    said = make_export(
        ExportJob(
            folder=folder,
            weights=lake.blobs.fetch(model.weights_oid),
            format=fmt,
            int8=int8,
            imgsz=input_shape(model.about.imgsz, height, width),
            max_det=int(model.about.predict.get("max_det", 300)),
            images=tuple(paths[row["frame_oid"]] for row in frames),
            config_dir=_ultralytics(settings),
            parent_pid=os.getpid(),
        )
    )
    made = {name: folder / "files" / name for name in said["files"]}
    oids = tuple(row["frame_oid"] for row in frames)
    return Export(
        format=fmt,
        int8=int8,
        files={name: lake.blobs.put_file(path) for name, path in made.items()},
        size_bytes=sum(path.stat().st_size for path in made.values()),
        shape="float32 [batch, 3, height, width], RGB from 0 to 1; height and width multiples of 32",
        opset=said["opset"],
        libraries=library_versions(LIBRARIES),
        calibration=Calibration(images=len(oids), frames=oids) if int8 else None,
    )


def _spread(rows: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most so many rows, evenly over all recordings and each recording's time."""
    ordered = sorted(rows, key=lambda row: (row["recording_id"], row["frame_index"]))
    count = min(most, len(ordered))
    return [ordered[index * len(ordered) // count] for index in range(count)]


def _benchmark(
    settings: Settings, lake: Lake, record: ExportRecord, frames: Sequence[dict[str, Any]], folder: Path
) -> dict[str, Any]:
    """Original and export, each in a process of its own, turn by turn on the same test frames."""
    from tasks.training.export import UseJob, benchmark
    from tasks.training.recipes import PredictOptions

    shown = _spread(frames, BENCHMARK_IMAGES)
    paths = lake.blobs.fetch_many({row["frame_oid"] for row in shown})
    files = {
        "original": {"weights.pt": (lake.blobs.fetch(record.weights_oid), record.weights_oid)},
        "export": {name: (lake.blobs.fetch(oid), oid) for name, oid in record.export.files.items()},
    }
    timed: dict[str, Any] = benchmark(
        {
            name: UseJob(
                files=own,
                classes=record.classes,
                imgsz=record.imgsz,
                predict=PredictOptions(**record.predict),
                images=tuple(paths[row["frame_oid"]] for row in shown),
                config_dir=_ultralytics(settings),
                parent_pid=os.getpid(),
            )
            for name, own in files.items()
        },
        folder,
    )
    sizes = {"original": files["original"]["weights.pt"][0].stat().st_size, "export": record.export.size_bytes}
    return {"device": "cpu"} | {name: found | {"size_bytes": sizes[name]} for name, found in timed.items()}


def _checks(
    lake: Lake, line: Line, evaluation: Evaluation, frames: list[dict[str, Any]], score: float
) -> dict[str, Any]:
    """Boxes matched one to one, and average precision with its paired bootstrap interval: export minus original."""
    from tasks.evaluation.detection import predicted_boxes
    from tasks.evaluation.evaluate import stored_predictions
    from tasks.metrics.agreement import compute_agreement

    def boxes(result: ModelResult) -> Any:
        return predicted_boxes(stored_predictions(lake, result.predictions_oid), frames, line)

    original, export = (boxes(result) for result in (evaluation.champion, evaluation.challenger) if result)
    return {
        "images": evaluation.images,
        "score": score,
        "confidence": evaluation.confidence,
        "boxes": asdict(compute_agreement(original, export, score)),
        "metrics": {name: _compared(evaluation, name) for name in COMPARED},
        "classes": {name: _compared(evaluation, COMPARED[0], f"class.{name}") for name in evaluation.classes},
    }


def _compared(evaluation: Evaluation, metric: str, where: str | None = None) -> dict[str, float | None]:
    """Export minus original, with the paired interval."""
    difference = evaluation.difference(metric, where)
    interval = difference.interval(evaluation.confidence) if difference else None
    return {
        "original": evaluation.champion_value(metric, where),
        "export": evaluation.value(metric, where),
        "difference": difference.value if difference else None,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
    }


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


def _ultralytics(settings: Settings) -> Path:
    return settings.state_dir.resolve() / "ultralytics"
