"""The exporting subprocess: `python -m tasks.kinds.detection.export_worker <job.json>`. See `export_process.ExportJob`.

Local files in, local files out: it knows neither the lake nor MLflow. It dies with the step that started it.
"""

from __future__ import annotations

import json
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tasks.kinds.detection.export_process import ExportJob
from tasks.kinds.detection.export_tools import TOOLS
from tasks.training.ultralytics_loading import load_checkpoint
from tasks.training.worker import die_with

LEAST_STRIDE_PX = 32
"""What ultralytics pads the images of a .pt to, at least, though its exports say the stride of their finest grid."""

KEPT = frozenset({".xml", ".bin", ".param", ".json", ".pdiparams", ".yaml"})
"""Of a format that is several files."""


def main(job_file: Path) -> None:
    """Run one job."""
    job = ExportJob.model_validate_json(job_file.read_text())
    die_with(job.parent_pid)
    from tasks.training import ultralytics_offline as offline

    offline.prepare(job.config_dir)
    import torch
    from ultralytics import YOLO

    torch.manual_seed(0)
    weights = job.folder / "model.pt"
    shutil.copyfile(job.weights, weights)
    load_checkpoint(weights)
    model = YOLO(str(weights), task="detect")
    model.add_callback("on_export_start", _settle_metadata)
    if job.format == "paddle":
        _without_feedback()
    made = Path(
        model.export(
            format=job.format,
            imgsz=list(job.imgsz),
            batch=1,
            max_det=job.max_det,
            device="cpu",
            split="train",
            **_arguments(job),
        )
    )
    result = {"files": _collect(made, job.folder / "files"), "opset": _opset(made)}
    (job.folder / "result.json").write_text(json.dumps(result))


def _arguments(job: ExportJob) -> dict[str, Any]:
    shape = {"dynamic": True} if TOOLS[job.format].dynamic else {}
    match job.precision:
        case "int8":
            return shape | {"quantize": 8, "data": str(_calibration_data(job))}
        case "fp16":
            return shape | {"quantize": 16}
        case _:
            return shape


def _without_feedback() -> None:
    """Keep x2paddle from telling its makers of each conversion, which it does by itself."""
    from x2paddle import convert

    convert.pytorch2paddle = partial(convert.pytorch2paddle, disable_feedback=True)


def _settle_metadata(exporter: Any) -> None:
    """Have the file say what a predictor needs, and nothing that differs from one export to the next.

    The stride decides how images are padded. Our small detector has one grid, of stride 8, and passes through stride 16
    on its way: padded to 8 its layers would not fit together.
    """
    exporter.metadata |= {
        "stride": max(LEAST_STRIDE_PX, exporter.metadata["stride"]),
        "date": "",
        "description": "Nightscope detector",
        "args": exporter.metadata["args"] | {"data": None},  # a path of this machine
    }


def _calibration_data(job: ExportJob) -> Path:
    """The calibration images as a dataset of ultralytics; their labels are not looked at."""
    images = job.folder / "calibration" / "images"
    images.mkdir(parents=True)
    for index, path in enumerate(job.images):
        (images / f"{index:06d}{_suffix(path)}").symlink_to(path.resolve())
    data = {"path": str(images.parent), "train": "images", "val": "images", "names": {0: "object"}}
    place = job.folder / "calibration.yaml"
    place.write_text(yaml.safe_dump(data))
    return place


def _suffix(image: Path) -> str:
    """By its first bytes: a blob's name has none."""
    with image.open("rb") as file:
        return ".png" if file.read(4) == b"\x89PNG" else ".jpg"


def _collect(made: Path, target: Path) -> list[str]:
    """Move the export's files to `target`, under names that do not depend on where it was made.

    Converters leave programs and pickles of their own beside the model (NCNN a .py, Paddle a .py and a .pdparams): they
    stay behind, so that nothing is attached that could run.
    """
    target.mkdir()
    files = [made] if made.is_file() else [path for path in sorted(made.rglob("*")) if path.suffix in KEPT]
    for path in files:
        name = path.name if path.name == "metadata.yaml" else f"model{path.suffix}"
        shutil.move(path, target / name)
    return sorted(path.name for path in target.iterdir())


def _opset(made: Path) -> int | None:
    target = made.parent / "files" / "model.onnx"
    if not target.exists():
        return None
    import onnx

    opsets = onnx.load(target, load_external_data=False).opset_import
    return next((int(entry.version) for entry in opsets if entry.domain in ("", "ai.onnx")), None)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
