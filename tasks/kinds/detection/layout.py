"""Lays a dataset version out on local disk as YOLO trainers want it.

    <root>/<version>/data.yaml
    <root>/<version>/images/{train,val,test}/<name>.jpg     hard links into the blob cache
    <root>/<version>/labels/{train,val,test}/<name>.txt     hard links into a cache of label files

Both caches are named by content, so a version that shares frames or labels with an earlier one only links them: see
`tasks.datasets.on_disk`.

A frame with a crowd (`boxes.Box`) is left out of train and val: YOLO has no regions to ignore, so the objects
in it would be learned as background. The manifest keeps it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tasks.config import Line
from tasks.datasets.on_disk import Files, image_name, laid_out, link
from tasks.errors import DataError
from tasks.kinds.detection.boxes import single
from tasks.kinds.detection.denoised_layout import prepared as prepared
from tasks.lake import Lake, Manifest
from tasks.provenance import code_of
from tasks.schemas import SPLITS, Oid, canonical_json
from tasks.whole_files import written_whole

__all__ = ["image_name", "label_text", "materialise"]

_INDEX = "data.yaml"
_CHUNK = 256
_COLUMNS = [
    "split", "recording_id", "recording_name", "frame_index", "frame_oid", "media_type", "width_px", "height_px",
    "objects",
]  # fmt: skip

Row = dict[str, Any]


def materialise(lake: Lake, line: Line, version: str, root: Path | None = None) -> Path:
    """Lay a dataset version out on disk; nearly free when it is there already.

    Args:
        lake: Where the version and its frames are.
        line: Whose dataset it is.
        version: The dataset version.
        root: Folder that holds the layouts; default `<work_dir>/datasets`.

    Returns:
        Path of `data.yaml`. Classes are numbered in the version's order. Without a validation split its `val` names
        the training images, for trainers insist on one: ask the version's record for `has_val`.

    Raises:
        NotFound: No such version, or a frame is not in the lake.
        IntegrityError: The lake's bytes are not what their names say.
    """
    return laid_out(
        lake, version, root, _INDEX, code_of("layout", "detection"),
        lambda part, folder: _build(lake, lake.datasets.load(line.line, version), part, folder),
    )  # fmt: skip


def label_text(objects: Sequence[dict[str, Any]], classes: Sequence[str], width_px: int, height_px: int) -> str:
    """Boxes as YOLO writes them: class number, centre x, centre y, width, height, over the frame's size; one a line.

    Crowds are left out.

    Raises:
        DataError: A class that is not among `classes`.
    """
    lines = []
    for box in single(objects):
        if box["label"] not in classes:
            raise DataError(f"label {box['label']!r}: is no class of this dataset", expected=", ".join(classes))
        x = (box["x_px"] + box["width_px"] / 2) / width_px
        y = (box["y_px"] + box["height_px"] / 2) / height_px
        sides = (x, y, box["width_px"] / width_px, box["height_px"] / height_px)
        lines.append(" ".join([str(classes.index(box["label"])), *(f"{side:.8f}" for side in sides)]))
    return "".join(line + "\n" for line in lines)


def _build(lake: Lake, manifest: Manifest, part: Path, folder: Path) -> Files:
    """Write everything; how many files are in each folder."""
    rows = [row for row in manifest.rows.select(_COLUMNS).to_pylist() if _is_laid_out(row)]
    classes: list[str] = json.loads((manifest.rows.schema.metadata or {})[b"classes"])
    for kind in ("images", "labels"):
        for split in SPLITS:
            (part / kind / split).mkdir(parents=True)
    layout = _Layout(
        folder=str(part),
        images=lake.blobs.fetch_many(row["frame_oid"] for row in rows),
        labels=str(lake.settings.cache_dir / "labels-yolo"),
        classes=classes,
    )
    # In chunks: handing over single rows would cost more than linking them.
    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    with ThreadPoolExecutor(lake.settings.workers) as threads:
        list(threads.map(layout.place, chunks))
    (part / _INDEX).write_text(_data_yaml(folder, rows, classes))
    frames = Counter(row["split"] for row in rows)
    return {f"{kind}/{split}": frames[split] for kind in ("images", "labels") for split in SPLITS}


def _is_laid_out(row: Row) -> bool:
    if row["split"] == "test" or '"crowd"' not in row["objects"]:
        return True
    objects = json.loads(row["objects"])
    return len(single(objects)) == len(objects)


@dataclass(frozen=True)
class _Layout:
    """Where frames and labels come from and go to. Paths are plain strings: there are two links a frame to make."""

    folder: str
    images: Mapping[Oid, Path]
    labels: str
    classes: list[str]

    def place(self, rows: Sequence[Row]) -> None:
        """Link the frames and labels of some manifest rows."""
        made_by = code_of("layout", "detection") + canonical_json(self.classes)
        for row in rows:
            name = image_name(row)
            link(os.fspath(self.images[row["frame_oid"]]), f"{self.folder}/images/{row['split']}/{name}")
            made_of = f"{made_by}{row['width_px']}x{row['height_px']}{row['objects']}"
            key = hashlib.sha256(made_of.encode()).hexdigest()
            cached = f"{self.labels}/{key[:2]}/{key}"
            target = f"{self.folder}/labels/{row['split']}/{name.rpartition('.')[0]}.txt"
            try:
                link(cached, target)
            except FileNotFoundError:
                text = label_text(json.loads(row["objects"]), self.classes, row["width_px"], row["height_px"])
                _keep(Path(cached), text)
                link(cached, target)


def _keep(path: Path, text: str) -> None:
    with written_whole(path) as part:
        part.write_text(text)
        part.chmod(0o444)


def _data_yaml(folder: Path, rows: Sequence[Row], classes: Sequence[str]) -> str:
    has_val = any(row["split"] == "val" for row in rows)
    data = {
        "path": str(folder),
        "train": "images/train",
        "val": "images/val" if has_val else "images/train",
        "test": "images/test",
        "names": dict(enumerate(classes)),
    }
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
