"""The subprocesses that export a segmenter, and that use one to time it: what they are asked, and what they answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.schemas import Frozen
from tasks.training.export_process import run_export


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
    return run_export(job, "tasks.kinds.segmentation.export_worker", "onnx")


def spread(rows: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most so many rows, evenly over all recordings."""
    ordered = sorted(rows, key=lambda row: (row["recording_id"], row["frame_index"]))
    count = min(most, len(ordered))
    return [ordered[index * len(ordered) // count] for index in range(count)]
