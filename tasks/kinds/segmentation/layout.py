"""Lays a dataset version out on local disk: `dataset.json`, pictures as hard links, cells as JSON; see `dataset.py`.

A picture with cells that are boxed and not filled yet is left out: what is missing would be learned as ground.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tasks.config import Line
from tasks.datasets.on_disk import Files, image_name, laid_out, link
from tasks.errors import DataError
from tasks.kind import Object
from tasks.kinds.segmentation.dataset import CellDataset, LabelledPicture
from tasks.kinds.segmentation.objects import is_to_fill
from tasks.kinds.segmentation.originals import channels_of
from tasks.kinds.segmentation.originals import originals as originals
from tasks.lake import Lake, Manifest
from tasks.metrics.masks import check_counts
from tasks.provenance import code_of
from tasks.schemas import Oid

_INDEX = "dataset.json"
_IMAGES, _CELLS = "images", "cells"
_CHUNK = 256
_COLUMNS = [
    "split", "group", "recording_id", "recording_name", "frame_index", "frame_oid", "media_type", "width_px",
    "height_px", "objects",
]  # fmt: skip
_Placed = tuple[Oid, LabelledPicture, list[Object]]


def materialise(lake: Lake, line: Line, version: str, root: Path | None = None) -> Path:
    """Lay a dataset version out on disk; nearly free when it is there already.

    Args:
        lake: Where the version, its frames and its recordings are.
        line: Whose dataset it is.
        version: The dataset version.
        root: Folder that holds the layouts; default `<work_dir>/datasets`.

    Returns:
        Path of `dataset.json`, a `CellDataset` whose classes are in the version's order.

    Raises:
        NotFound: No such version, or a picture is not in the lake.
        IntegrityError: The lake's bytes are not what their names say.
        DataError: A label is of no class of the version, or is no mask of its picture; naming the first ones.
    """
    return laid_out(
        lake, version, root, _INDEX, code_of("layout", "segmentation"),
        lambda part, _: _build(lake, lake.datasets.load(line.line, version), part),
    )  # fmt: skip


def _build(lake: Lake, manifest: Manifest, part: Path) -> Files:
    classes: list[str] = json.loads((manifest.rows.schema.metadata or {})[b"classes"])
    placed = _placed(lake, manifest)
    _check(placed, classes)
    paths = lake.blobs.fetch_many(oid for oid, _, _ in placed)
    for folder in (_IMAGES, _CELLS):
        (part / folder).mkdir()

    def place(chunk: Sequence[_Placed]) -> None:
        for oid, picture, objects in chunk:
            link(os.fspath(paths[oid]), f"{part}/{picture.file}")
            (part / picture.cells).write_text(json.dumps(objects))

    with ThreadPoolExecutor(lake.settings.workers) as threads:
        list(threads.map(place, [placed[start : start + _CHUNK] for start in range(0, len(placed), _CHUNK)]))
    dataset = CellDataset(
        classes=tuple(classes), channels=channels_of(manifest), images=tuple(picture for _, picture, _ in placed)
    )
    (part / _INDEX).write_text(dataset.model_dump_json())
    return {_IMAGES: len(placed)}


def _placed(lake: Lake, manifest: Manifest) -> list[_Placed]:
    """Each picture that is laid out: which blob shows it, what is said of it, and its cells."""
    rows: list[dict[str, Any]] = manifest.rows.select(_COLUMNS).to_pylist()
    placed: list[_Placed] = []
    for row, original in zip(rows, originals(lake, manifest, rows), strict=True):
        objects: list[Object] = json.loads(row["objects"])
        if any(map(is_to_fill, objects)):
            continue
        picture = LabelledPicture(
            file=f"{_IMAGES}/{image_name(row)}",  # whatever it is: readers go by what is in a file
            cells=f"{_CELLS}/{len(placed):06d}.json",
            split=row["split"],
            group=row["group"],
            height_px=row["height_px"],
            width_px=row["width_px"],
            original=original is not None,
        )
        placed.append((original or row["frame_oid"], picture, objects))
    return placed


def _check(placed: Sequence[_Placed], classes: Sequence[str]) -> None:
    faults = [
        f"{picture.file.rpartition('/')[2]}: {fault}"
        for _, picture, objects in placed
        for item in objects
        if (fault := _fault(item, picture, classes)) is not None
    ]
    if faults:
        raise DataError(
            f"{len(faults)} labels cannot be learned from: {'; '.join(faults[:5])}",
            expected=f"masks of their pictures, of the classes {', '.join(classes)}",
            fix="validate the labels again, and freeze a new version",
        )


def _fault(item: Object, picture: LabelledPicture, classes: Sequence[str]) -> str | None:
    if item.get("label") not in classes:
        return f"{item.get('label')!r} is no class"
    if (item.get("height_px"), item.get("width_px")) != (picture.height_px, picture.width_px):
        return f"a mask of {item.get('width_px')} x {item.get('height_px')} pixels"
    try:
        check_counts(str(item.get("mask")), picture.height_px, picture.width_px)
    except ValueError as error:
        return str(error)
    return None
