"""A trained detector as a file for another runtime: ONNX, TorchScript, OpenVINO; in full precision or in int8.

The export is made, and measured, in subprocesses: the exporters print, keep memory, and want settings of their own
before they are imported. Nothing is downloaded or installed, and nobody is told (see `offline.py`).

Shapes are dynamic: batch, height and width are what the image needs. A fixed shape would be right for one size of
frames only, and would gain nothing: measured at 544 x 704 px on two cores, fixed against dynamic, ONNX 52 | 48 ms,
TorchScript 52 | 53, OpenVINO 35 | 32, OpenVINO int8 22 | 22.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field

from tasks.errors import ConfigError, StepFailed
from tasks.provenance import DECIDING, code_of, code_version
from tasks.schemas import Frozen, Oid
from tasks.training.recipes import STRIDE_PX, PredictOptions
from tasks.training.supervise import PRIVATE, tail

Format = Literal["onnx", "torchscript", "openvino"]
FORMATS: tuple[Format, ...] = get_args(Format)
INT8: tuple[Format, ...] = ("onnx", "openvino")
"""Formats that ultralytics can quantise; TorchScript has no int8 there."""

LIBRARIES = DECIDING["export"].libraries
CALIBRATION_FRAMES = 300
"""As many as ultralytics recommends; more add minutes and no accuracy."""


class Calibration(Frozen):
    """What int8 took its ranges from."""

    split: Literal["train"] = "train"
    images: int
    frames: tuple[Oid, ...] = Field(description="The images' blobs, in the order they were shown.")


class Export(Frozen):
    """The file, or files, of an export."""

    format: Format
    int8: bool
    files: dict[str, Oid] = Field(description="By the names that the runtime wants.")
    size_bytes: int
    shape: str = Field(description="Of the input.")
    opset: int | None = Field(default=None, description="ONNX only.")
    libraries: dict[str, str]
    calibration: Calibration | None = None

    @property
    def label(self) -> str:
        """What it is called in paths and tags: 'openvino-int8'."""
        return label(self.format, self.int8)

    @property
    def weights_oid(self) -> Oid:
        """The file that holds the weights: of several the .bin."""
        return next(iter(self.files.values())) if len(self.files) == 1 else self.files["model.bin"]


class ExportRecord(Frozen):
    """An export that was checked against its original and found the same, or near enough: a JSON blob of the lake."""

    line: str
    kind: str
    model_version: str
    weights_oid: Oid
    dataset_version: str = Field(description="On whose test split it was checked.")
    classes: tuple[str, ...]
    imgsz: int
    predict: dict[str, Any]
    export: Export
    tolerance: dict[str, float]
    checks: dict[str, Any]
    benchmark: dict[str, Any]
    evaluation_oid: Oid = Field(description="The export as challenger, the original as champion.")
    code_version: str
    hardware: str


class ExportJob(Frozen):
    """What the step asks of the exporting subprocess. It leaves the files in `folder/files`, and `result.json`."""

    folder: Path
    weights: Path
    """Verified by the step: a .pt is code."""
    format: Format
    int8: bool
    imgsz: tuple[int, int]
    """Height and width of the example input; of the calibration images, too."""
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


def label(fmt: str, int8: bool) -> str:
    """What an export is called in paths and tags: 'openvino-int8'."""
    return f"{fmt}-int8" if int8 else fmt


def check_supported(fmt: str, int8: bool) -> Format:
    """The format, if it can be exported to.

    Raises:
        ConfigError: There is no such format, or no int8 in it.
    """
    for known in FORMATS:
        if fmt == known:
            if int8 and known not in INT8:
                raise ConfigError(
                    f"export to {fmt} in int8: {fmt} has no int8",
                    expected=f"{' or '.join(INT8)} with --int8, or {fmt} without",
                )
            return known
    raise ConfigError(f"export to {fmt!r}: no such format", expected=f"one of: {', '.join(FORMATS)}")


def export_version() -> str:
    """Of all code that decides what an export's bytes are."""
    return f"{code_version()}+{code_of('export')}"


def input_shape(imgsz: int, height_px: int, width_px: int) -> tuple[int, int]:
    """Height and width that a frame is letterboxed to: scaled to `imgsz`, padded to the stride, and no further."""
    scale = min(imgsz / height_px, imgsz / width_px)
    height, width = (-(-round(side * scale) // STRIDE_PX) * STRIDE_PX for side in (height_px, width_px))
    return height, width


def make_export(job: ExportJob) -> dict[str, Any]:
    """Export in a subprocess.

    Returns:
        What it says of the export: `opset`, and `files`, names in `job.folder / "files"`.

    Raises:
        StepFailed: It failed; with the end of its log.
    """
    job_file, log = job.folder / "job.json", job.folder / "export.log"
    job_file.write_text(job.model_dump_json())
    command = [sys.executable, "-P", "-m", "tasks.training.export_worker", str(job_file)]
    with log.open("ab") as output:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=job.folder, check=False,
            env=_environment() | {"PYTHONHASHSEED": "0"},  # else onnxslim writes the same graph in another order
        )  # fmt: skip
    result = job.folder / "result.json"
    if done.returncode != 0 or not result.exists():
        what = label(job.format, job.int8)
        raise StepFailed(f"export to {what} failed (exit code {done.returncode})", found=tail(log))
    said: dict[str, Any] = json.loads(result.read_text())
    return said


def benchmark(jobs: Mapping[str, UseJob], folder: Path, *, rounds: int = 4) -> dict[str, dict[str, Any]]:
    """Time models against each other, each in a fresh subprocess, turn by turn, so that a busy moment hits them all.

    Args:
        jobs: By name.
        folder: For job files and logs.
        rounds: How often each predicts all images.

    Returns:
        By name: `latency_ms_p50`, `latency_ms_p95` (one image at a time, decoded image to finished boxes), `images`
        that were timed, `peak_rss_mb` of the process, and `libraries_rss_mb`, its memory before the model was loaded.

    Raises:
        StepFailed: A subprocess failed; with the end of its log.
    """
    users = {name: _User(name, job, folder) for name, job in jobs.items()}
    spent: dict[str, list[float]] = {name: [] for name in jobs}
    try:
        for user in users.values():
            user.hear()  # loaded and warm
        for _ in range(rounds):
            for name, user in users.items():
                spent[name] += user.ask()["latency_ms"]
        return {name: _summary(spent[name], user.finish()) for name, user in users.items()}
    finally:
        for user in users.values():
            user.end()


class _User:
    """One subprocess that uses a model, at the other end of a pipe."""

    def __init__(self, name: str, job: UseJob, folder: Path) -> None:
        job_file, self._log = folder / f"{name}.json", folder / f"{name}.log"
        job_file.write_text(job.model_dump_json())
        self._name = name
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tasks.training.footprint", str(job_file)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=folder, env=_environment(), text=True,
            )  # fmt: skip

    def hear(self) -> dict[str, Any]:
        """Its next answer."""
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            code = self._process.wait()
            raise StepFailed(f"benchmark of {self._name} failed (exit code {code})", found=tail(self._log))
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self) -> dict[str, Any]:
        """Have it predict all images once."""
        with suppress(BrokenPipeError):  # it died: hearing says so, and why
            if self._process.stdin:
                self._process.stdin.write("again\n")
                self._process.stdin.flush()
        return self.hear()

    def finish(self) -> dict[str, Any]:
        """Tell it that this was all, and hear what it needed."""
        with suppress(BrokenPipeError):
            if self._process.stdin:
                self._process.stdin.close()
        return self.hear()

    def end(self) -> None:
        """Leave nothing running."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe and not pipe.closed:
                pipe.close()


def _summary(spent: Sequence[float], memory: Mapping[str, float]) -> dict[str, Any]:
    import numpy as np

    low, high = (round(float(np.percentile(spent, at)), 3) for at in (50, 95))
    kept = {name: memory[name] for name in ("peak_rss_mb", "libraries_rss_mb")}
    return {"latency_ms_p50": low, "latency_ms_p95": high, "images": len(spent), **kept}


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(PRIVATE)}
