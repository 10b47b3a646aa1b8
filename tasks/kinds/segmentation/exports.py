"""A trained two-stage segmenter in ONNX: one graph for each stage; see `export_network.py`.

It is made, and timed, in subprocesses: exporters print and keep memory. Shapes are dynamic: height and width are what
the tile needs, and the decoder takes as many boxes as there are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError
from tasks.kind import Row
from tasks.kind.exports import Precision
from tasks.kinds.segmentation import LIBRARIES as BY_RESULT
from tasks.kinds.segmentation.export_parity import checks as checks
from tasks.kinds.segmentation.export_parity import described as described
from tasks.kinds.segmentation.export_parity import refusals as refusals
from tasks.kinds.segmentation.export_parity import tolerance as tolerance
from tasks.kinds.segmentation.export_process import ExportJob, UseJob, make_export, spread
from tasks.kinds.segmentation.originals import originals
from tasks.lake import Lake
from tasks.provenance import library_versions
from tasks.training.exported import Export, ExportRecord
from tasks.training.model_timing import time_models

FORMATS: tuple[str, ...] = ("onnx",)
LIBRARIES = BY_RESULT["export"]
BENCHMARK_IMAGES = 10


def check_supported(fmt: str, precision: Precision) -> str:
    """The format, if it can be exported to.

    Raises:
        ConfigError: There is no such format, or it does not come in that precision.
    """
    if fmt not in FORMATS:
        raise ConfigError(f"export to {fmt!r}: no such format for cells", expected=f"one of: {', '.join(FORMATS)}")
    if precision != "fp32":
        raise ConfigError(
            f"export of a segmenter in {precision}: there is none", expected=f"onnx without --{precision}"
        )
    return fmt


def make(lake: Lake, about: Any, fmt: str, precision: Precision, training: Sequence[Row], folder: Path) -> Export:
    """Export a registered segmenter.

    Args:
        lake: Holds the weights, and gets the files.
        about: The `ModelAbout` of its version.
        fmt, precision: As `check_supported` gave them.
        training: Not needed: nothing is calibrated.
        folder: Scratch, ours alone.

    Raises:
        StepFailed: The exporter failed; a model of one stage cannot be exported.
    """
    said = make_export(ExportJob(folder=folder, weights=lake.blobs.fetch(about.weights_oid), parent_pid=os.getpid()))
    made = {name: folder / "files" / name for name in said["files"]}
    return Export(
        format=fmt,
        int8=precision == "int8",
        files={name: lake.blobs.put_file(path) for name, path in made.items()},
        size_bytes=sum(path.stat().st_size for path in made.values()),
        shape="stage 1: float32 [1, 3, height, width], prepared RGB, sides multiples of 32; stage 2: boxes [n, 4]",
        opset=said["opset"],
        libraries=library_versions(LIBRARIES),
    )


def benchmark(lake: Lake, record: ExportRecord, frames: Sequence[Row], folder: Path) -> dict[str, Any]:
    """Original and export, each in a process of its own, turn by turn on the same test pictures."""
    shown = spread(frames, BENCHMARK_IMAGES)
    manifest = lake.datasets.load(record.line, record.dataset_version)
    taken = originals(lake, manifest, shown)
    paths = lake.blobs.fetch_many({*(row["frame_oid"] for row in shown), *(oid for oid in taken if oid)})
    files = {
        "original": {"weights.pt": lake.blobs.fetch(record.weights_oid)},
        "export": {name: lake.blobs.fetch(oid) for name, oid in record.export.files.items()},
    }
    timed = time_models(
        {
            name: UseJob(
                files=own,
                classes=record.classes,
                images=tuple(paths[row["frame_oid"]] for row in shown),
                originals=tuple(paths[oid] if oid else None for oid in taken),
                parent_pid=os.getpid(),
            )
            for name, own in files.items()
        },
        "tasks.kinds.segmentation.export_footprint",
        folder,
    )
    sizes = {"original": files["original"]["weights.pt"].stat().st_size, "export": record.export.size_bytes}
    return {"device": "cpu"} | {name: found | {"size_bytes": sizes[name]} for name, found in timed.items()}
