"""A trained detector as a file for another runtime: ONNX, TorchScript, OpenVINO, NCNN, Paddle; in fp32, fp16 or int8.

The export is made, and measured, in subprocesses: the exporters print, keep memory, and want settings of their own
before they are imported. Nothing is downloaded or installed, and nobody is told (see `offline.py`). What a format
needs, and which cannot be made or checked here: `export_tools.py`.

Shapes are dynamic, where a format can be: batch, height and width are what the image needs. A fixed shape is right for
one size of frames only, and gains nothing: measured at 544 x 704 px on two cores, fixed against dynamic, ONNX
52 | 48 ms, TorchScript 52 | 53, OpenVINO 35 | 32, OpenVINO int8 22 | 22.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError
from tasks.kind import Row
from tasks.kind.exports import Precision
from tasks.kinds.detection import LIBRARIES as BY_RESULT
from tasks.kinds.detection import denoised
from tasks.kinds.detection.anchored.files import is_anchored
from tasks.kinds.detection.ensembles import is_ensemble
from tasks.kinds.detection.export_parity import checks as checks
from tasks.kinds.detection.export_parity import described as described
from tasks.kinds.detection.export_parity import refusals as refusals
from tasks.kinds.detection.export_parity import tolerance as tolerance
from tasks.kinds.detection.export_process import ExportJob, UseJob, make_export, time_models
from tasks.kinds.detection.export_tools import TOOLS, Format
from tasks.kinds.detection.export_tools import check_supported as check_supported
from tasks.kinds.detection.recipe import STRIDE_PX, PredictOptions
from tasks.lake import Lake
from tasks.provenance import library_versions
from tasks.training.exported import Calibration, Export, ExportRecord

FORMATS: tuple[str, ...] = tuple(TOOLS)
LIBRARIES = BY_RESULT["export"]
CALIBRATION_FRAMES = 300
"""As many as ultralytics recommends; more add minutes and no accuracy."""
BENCHMARK_IMAGES = 25
_SHAPE = "[batch, 3, height, width], height and width multiples of 32"


def input_shape(imgsz: int, height_px: int, width_px: int) -> tuple[int, int]:
    """Height and width that a frame is letterboxed to: scaled to `imgsz`, padded to the stride, and no further."""
    scale = min(imgsz / height_px, imgsz / width_px)
    height, width = (-(-round(side * scale) // STRIDE_PX) * STRIDE_PX for side in (height_px, width_px))
    return height, width


def make(lake: Lake, about: Any, fmt: Format, precision: Precision, training: Sequence[Row], folder: Path) -> Export:
    """Export a registered detector.

    Args:
        lake: Holds the weights, and gets the files.
        about: The `ModelAbout` of its version.
        fmt: As `check_supported` gave it.
        precision: Of its weights; int8 is calibrated on some of the training frames.
        training: Manifest rows of the frames that it learned from.
        folder: Scratch, ours alone.

    Raises:
        StepFailed: The exporter failed.
        ConfigError: It has anchors, or is several detectors, or carries a denoiser, or the format has one shape and its
            images several.
    """
    weights = lake.blobs.fetch(about.weights_oid)
    if is_ensemble(weights):
        raise ConfigError(
            f"export to {fmt}: the model is several detectors, whose boxes are fused outside of any runtime",
            expected="one detector", fix="serve it as it is, or train the line with `members: 1`",
        )  # fmt: skip
    if is_anchored(weights):
        raise ConfigError(
            f"export to {fmt}: the model is a detector with anchors", expected="one of ultralytics' detectors",
            fix="train the line with a recipe whose `model` is not retinanet",
        )  # fmt: skip
    denoised.refuse_export(lake.blobs.fetch(about.weights_oid), fmt)
    frames = _spread(training, CALIBRATION_FRAMES) if precision == "int8" else []
    shape = shape_of(about, fmt, training)
    paths = lake.blobs.fetch_many({row["frame_oid"] for row in frames})
    said = make_export(
        ExportJob(
            folder=folder,
            weights=weights,
            format=fmt,
            precision=precision,
            imgsz=shape,
            max_det=int(about.predict.get("max_det", 300)),
            images=tuple(paths[row["frame_oid"]] for row in frames),
            config_dir=_ultralytics(lake),
            parent_pid=os.getpid(),
        )
    )
    made = {name: folder / "files" / name for name in said["files"]}
    oids = tuple(row["frame_oid"] for row in frames)
    return Export(
        format=fmt,
        int8=precision == "int8",
        fp16=precision == "fp16",
        files={name: lake.blobs.put_file(path) for name, path in made.items()},
        size_bytes=sum(path.stat().st_size for path in made.values()),
        shape=f"float32 {_SHAPE if TOOLS[fmt].dynamic else [1, 3, *shape]}, RGB from 0 to 1",
        opset=said["opset"],
        libraries=library_versions(LIBRARIES),
        calibration=Calibration(images=len(oids), frames=oids) if precision == "int8" else None,
    )


def shape_of(about: Any, fmt: Format, training: Sequence[Row]) -> tuple[int, int]:
    """The shape to make it with: that of most frames; where shapes are fixed, of all that the model is shown.

    Raises:
        ConfigError: The format has one shape, and frames several, or the model looks at tiles or views.
    """
    shapes = Counter(input_shape(about.imgsz, row["height_px"], row["width_px"]) for row in training)
    if not TOOLS[fmt].dynamic:
        found = [f"{height} x {width} px" for height, width in sorted(shapes)] if len(shapes) > 1 else []
        found += [f"{name}={value}" for name in ("tta", "slice_px") if (value := about.predict.get(name))]
        if found:
            raise ConfigError(
                f"export to {fmt}: the file takes images of one shape only, and the model is shown several",
                expected="frames of one shape, looked at whole", found=", ".join(found),
                fix="export to onnx, torchscript or openvino, which take any shape",
            )  # fmt: skip
    return shapes.most_common(1)[0][0]


def _spread(rows: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most so many rows, evenly over all recordings and each recording's time."""
    ordered = sorted(rows, key=lambda row: (row["recording_id"], row["frame_index"]))
    count = min(most, len(ordered))
    return [ordered[index * len(ordered) // count] for index in range(count)]


def benchmark(lake: Lake, record: ExportRecord, frames: Sequence[Row], folder: Path) -> dict[str, Any]:
    """Original and export, each in a process of its own, turn by turn on the same test frames."""
    shown = _spread(frames, BENCHMARK_IMAGES)
    paths = lake.blobs.fetch_many({row["frame_oid"] for row in shown})
    files = {
        "original": {"weights.pt": (lake.blobs.fetch(record.weights_oid), record.weights_oid)},
        "export": {name: (lake.blobs.fetch(oid), oid) for name, oid in record.export.files.items()},
    }
    timed = time_models(
        {
            name: UseJob(
                files=own,
                classes=record.classes,
                imgsz=record.imgsz,
                predict=PredictOptions(**record.predict),
                images=tuple(paths[row["frame_oid"]] for row in shown),
                config_dir=_ultralytics(lake),
                parent_pid=os.getpid(),
            )
            for name, own in files.items()
        },
        folder,
    )
    sizes = {"original": files["original"]["weights.pt"][0].stat().st_size, "export": record.export.size_bytes}
    return {"device": "cpu"} | {name: found | {"size_bytes": sizes[name]} for name, found in timed.items()}


def _ultralytics(lake: Lake) -> Path:
    return lake.settings.state_dir.resolve() / "ultralytics"
