"""Cells as ultralytics reads them: tiles of 8 bits, and a text file of outlines for each. For the worker only.

<folder>/images/<split>/<n>_<y>_<x>.png    a tile of the prepared picture, `imgsz` pixels a side
<folder>/labels/<split>/<n>_<y>_<x>.txt    a cell a line: class, x, y, x, y ... in [0, 1] of the tile
<folder>/data.yaml                         written last: where it stands, all of it does

An outline has no holes, and joins pieces by a line, as ultralytics' own converter of COCO does. Points are middles of
pixels, so that the outline drawn again is the mask again, also mirrored. Pictures are cut into tiles, with the same
scale as in use; a cell that a tile cuts is learned in its parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from ultralytics.data.converter import merge_multi_segment

from tasks.errors import DataError
from tasks.kinds.segmentation.dataset import CellDataset, LabelledPicture
from tasks.kinds.segmentation.inference.tiles import tiles_of
from tasks.kinds.segmentation.networks.yolo_seg import squeezed
from tasks.kinds.segmentation.objects import label_image
from tasks.kinds.segmentation.pictures import padded, prepare, scaled, scaled_labels
from tasks.kinds.segmentation.plan import InputPlan

OVERLAP = 8
"""Neighbours share at least one in so many pixels of a tile's side."""
LEAST_PIECE_PX = 4
"""Pixels of a cell, or of a part of it, that are worth an outline."""

Labels = NDArray[np.int32]


def write_dataset(data: Path, folder: Path, how: InputPlan) -> Path:
    """Write the training and the validation split of a dataset; without the latter the former stands in for it.

    Args:
        data: `dataset.json`.
        folder: Where to; what stands there already, whole, stays.
        how: How pictures are prepared, and how large tiles are.

    Returns:
        Path of `data.yaml`.

    Raises:
        DataError: No tile of the training split shows a cell.
    """
    target = folder / "data.yaml"
    if target.exists():
        return target
    dataset = CellDataset.read(data)
    cells = {"train": 0, "val": 0}
    for number, picture in enumerate(dataset.images):
        if picture.split in cells:
            cells[picture.split] += _write_picture(data, dataset, picture, folder, f"{number:06d}", how)
    if not cells["train"]:
        raise DataError("the training split", expected="at least one cell with an outline", found="none")
    has_val = (folder / "images" / "val").is_dir()
    content = {
        "path": str(folder), "train": "images/train", "val": "images/val" if has_val else "images/train",
        "names": dict(enumerate(dataset.classes)),
    }  # fmt: skip
    target.write_text(yaml.safe_dump(content, sort_keys=False))
    return target


def _write_picture(
    data: Path, dataset: CellDataset, picture: LabelledPicture, folder: Path, name: str, how: InputPlan
) -> int:
    objects = dataset.objects(data.parent, picture)
    prepared = scaled(prepare(dataset.picture(data.parent, picture), how), how.scale)
    labels = scaled_labels(label_image(objects, picture.height_px, picture.width_px), how.scale)
    height, width = prepared.shape[:2]
    classes = [dataset.classes.index(str(item["label"])) for item in objects]
    count = 0
    images, texts = (folder / part / picture.split for part in ("images", "labels"))
    images.mkdir(parents=True, exist_ok=True)
    texts.mkdir(parents=True, exist_ok=True)
    for y, x in tiles(height, width, how.imgsz):
        tile = padded(prepared[y : y + how.imgsz, x : x + how.imgsz], how.imgsz, how.imgsz)
        lines = outlines(labels[y : y + how.imgsz, x : x + how.imgsz], classes, how.imgsz)
        pixels = (squeezed(torch.from_numpy(tile)) * 255).round().to(torch.uint8).numpy()
        cv2.imwrite(str(images / f"{name}_{y:05d}_{x:05d}.png"), pixels[:, :, ::-1])
        (texts / f"{name}_{y:05d}_{x:05d}.txt").write_text("".join(f"{line}\n" for line in lines))
        count += len(lines)
    return count


def tiles(height: int, width: int, side: int) -> Iterator[tuple[int, int]]:
    """The upper left corners of the tiles that cover a picture, as in use but for the overlap: y, x."""
    return ((tile.y, tile.x) for tile in tiles_of(height, width, side, side // OVERLAP))


def outlines(labels: Labels, classes: Sequence[int], side: int) -> list[str]:
    """A line of text for every cell of a label image [h, w]; `classes[n - 1]` is the class of cell n."""
    lines = []
    for number, place in enumerate(find_objects(labels), 1):
        if place is None:
            continue
        mask = (labels[place] == number).astype(np.uint8)
        outline = _outline(mask) if int(mask.sum()) >= LEAST_PIECE_PX else None
        if outline is None:
            continue
        points = (outline + np.array([place[1].start, place[0].start]) + 0.5) / side
        lines.append(f"{classes[number - 1]} " + " ".join(f"{value:.6f}" for value in points.ravel()))
    return lines


def _outline(mask: NDArray[np.uint8]) -> NDArray[Any] | None:
    """One closed outline [points, 2] of x, y, or None where all pieces are thinner than an outline."""
    found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    pieces = [piece.reshape(-1, 2).astype(np.float64) for piece in found if len(piece) >= 3]
    if len(pieces) > 1:
        joined: NDArray[Any] = np.concatenate(merge_multi_segment(pieces), axis=0)
        return joined
    return pieces[0] if pieces else None
