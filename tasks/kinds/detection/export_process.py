"""The subprocesses that export, and that use a model to time it: what they are asked, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.kind.exports import Precision
from tasks.kinds.detection.export_tools import Format
from tasks.kinds.detection.recipe import PredictOptions
from tasks.schemas import Frozen, Oid
from tasks.training import model_timing
from tasks.training.export_process import run_export
from tasks.training.exported import label


class ExportJob(Frozen):
    """What the step asks of the exporting subprocess. It leaves the files in `folder/files`, and `result.json`."""

    folder: Path
    weights: Path
    """Verified by the step: a .pt is code."""
    format: Format
    precision: Precision = "fp32"
    imgsz: tuple[int, int]
    """Height and width of the example input; of the calibration images, too; of every image, where shapes are fixed."""
    max_det: int
    images: tuple[Path, ...]
    """To calibrate int8 with."""
    config_dir: Path
    parent_pid: int


class UseJob(Frozen):
    """What the step asks of a subprocess that uses a model: see `footprint.py`."""

    files: dict[str, tuple[Path, Oid]]
    """Of an export; or the weights, as `weights.pt`."""
    classes: tuple[str, ...]
    imgsz: int
    predict: PredictOptions
    images: tuple[Path, ...]
    config_dir: Path
    parent_pid: int


def make_export(job: ExportJob) -> dict[str, Any]:
    """Export in a subprocess.

    Returns:
        What it says of the export: `opset`, and `files`, names in `job.folder / "files"`.

    Raises:
        StepFailed: It failed; with the end of its log.
    """
    return run_export(job, "tasks.kinds.detection.export_worker", label(job.format, job.precision))


def time_models(jobs: Mapping[str, UseJob], folder: Path, *, rounds: int = 4) -> dict[str, dict[str, Any]]:
    """Time models against each other, see `tasks.training.model_timing`."""
    return model_timing.time_models(jobs, "tasks.kinds.detection.footprint", folder, rounds=rounds)
