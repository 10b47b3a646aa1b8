"""Lays a dataset version out on local disk: `dataset.json`, and the pictures as hard links; see `dataset.py`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tasks.config import Line
from tasks.datasets.on_disk import Files, image_name, laid_out, link
from tasks.kinds.classification.dataset import ImageDataset, LabelledImage
from tasks.kinds.classification.objects import targets_of
from tasks.lake import Lake, Manifest
from tasks.provenance import code_of

_INDEX = "dataset.json"
_IMAGES = "images"
_CHUNK = 256
_COLUMNS = [
    "split", "group", "recording_id", "recording_name", "frame_index", "frame_oid", "media_type", "objects",
]  # fmt: skip


def materialise(lake: Lake, line: Line, version: str, root: Path | None = None) -> Path:
    """Lay a dataset version out on disk; nearly free when it is there already.

    Args:
        lake: Where the version and its frames are.
        line: Whose dataset it is.
        version: The dataset version.
        root: Folder that holds the layouts; default `<work_dir>/datasets`.

    Returns:
        Path of `dataset.json`, an `ImageDataset` whose classes are in the version's order.

    Raises:
        NotFound: No such version, or a frame is not in the lake.
        IntegrityError: The lake's bytes are not what their names say.
        DataError: A label is of no class of the version.
    """
    code = f"{code_of('layout', 'classification')}{'-multi' if line.multi_label else ''}"
    return laid_out(
        lake, version, root, _INDEX, code,
        lambda part, _: _build(lake, lake.datasets.load(line.line, version), part, multi_label=line.multi_label),
    )  # fmt: skip


def _build(lake: Lake, manifest: Manifest, part: Path, *, multi_label: bool) -> Files:
    rows = manifest.rows.select(_COLUMNS).to_pylist()
    classes: list[str] = json.loads((manifest.rows.schema.metadata or {})[b"classes"])
    images = tuple(_image(row, classes) for row in rows)
    paths = lake.blobs.fetch_many(row["frame_oid"] for row in rows)
    (part / _IMAGES).mkdir()

    def place(chunk: Sequence[tuple[dict[str, Any], LabelledImage]]) -> None:
        for row, image in chunk:
            link(os.fspath(paths[row["frame_oid"]]), f"{part}/{image.file}")

    pairs = list(zip(rows, images, strict=True))
    with ThreadPoolExecutor(lake.settings.workers) as threads:
        list(threads.map(place, [pairs[start : start + _CHUNK] for start in range(0, len(pairs), _CHUNK)]))
    dataset = ImageDataset(classes=tuple(classes), multi_label=multi_label, images=images)
    (part / _INDEX).write_text(dataset.model_dump_json())
    return {_IMAGES: len(rows)}


def _image(row: dict[str, Any], classes: Sequence[str]) -> LabelledImage:
    targets = targets_of(json.loads(row["objects"]), classes)
    return LabelledImage(
        file=f"{_IMAGES}/{image_name(row)}",
        split=row["split"],
        group=row["group"],
        targets=tuple(None if np.isnan(each) else float(each) for each in targets),
    )
