"""The subprocesses that export a segmenter, and that use one to time it: what they are asked, and what they answer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.errors import StepFailed
from tasks.schemas import Frozen
from tasks.training.supervise import public_environment, tail


class ExportJob(Frozen):
    """What the step asks of the exporting subprocess. It leaves the files in `folder/files`, and `result.json`."""

    folder: Path
    weights: Path
    parent_pid: int


class UseJob(Frozen):
    """What the step asks of a subprocess that uses a model: see `export_footprint.py`."""

    files: dict[str, Path]
    """Of an export; or the weights, as `weights.pt`."""
    classes: tuple[str, ...]
    images: tuple[Path, ...]
    originals: tuple[Path | None, ...]
    """For each image the picture as it was taken; empty: for none."""
    parent_pid: int


def make_export(job: ExportJob) -> dict[str, Any]:
    """Export in a subprocess.

    Returns:
        What it says of the export: `opset`, and `files`, names in `job.folder / "files"`.

    Raises:
        StepFailed: It failed; with the end of its log.
    """
    job_file, log = job.folder / "job.json", job.folder / "export.log"
    job_file.write_text(job.model_dump_json())
    command = [sys.executable, "-P", "-m", "tasks.kinds.segmentation.export_worker", str(job_file)]
    with log.open("ab") as output:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=job.folder, check=False,
            env=public_environment() | {"PYTHONHASHSEED": "0"},
        )  # fmt: skip
    result = job.folder / "result.json"
    if done.returncode != 0 or not result.exists():
        raise StepFailed(f"export to onnx failed (exit code {done.returncode})", found=tail(log))
    said: dict[str, Any] = json.loads(result.read_text())
    return said


def spread(rows: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most so many rows, evenly over all recordings."""
    ordered = sorted(rows, key=lambda row: (row["recording_id"], row["frame_index"]))
    count = min(most, len(ordered))
    return [ordered[index * len(ordered) // count] for index in range(count)]
