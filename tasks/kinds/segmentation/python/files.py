"""One picture and one label image, as a training takes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.datasets.on_disk import link
from tasks.errors import DataError
from tasks.kind import Object
from tasks.whole_files import written_whole


def bring_picture(source: Path, target: Path, channels: Mapping[str, int]) -> tuple[int, int]:
    """Put a picture where the training finds it: linked, or an array written as TIFF.

    Returns:
        Its height and width.

    Raises:
        DataError: It cannot be read.
    """
    from tasks.kinds.segmentation.pictures import read_picture

    target.unlink(missing_ok=True)
    if source.suffix.lower() == ".npy":
        import tifffile

        values = read_array(source)
        colour = "rgb" if values.ndim == 3 and values.shape[2] == 3 else "minisblack"
        tifffile.imwrite(target, np.ascontiguousarray(values), photometric=colour, metadata=None)
    else:
        link(str(source.resolve()), str(target))
    try:
        shape = read_picture(target, channels or None).shape
    except DataError as error:
        error.thing = error.thing.replace(target.name, source.name)  # as its owner knows it
        raise
    return int(shape[0]), int(shape[1])


def cells_of(source: Path, size: tuple[int, int], class_name: str, picture: str) -> list[Object]:
    """The objects of a label image: each number but 0 is a cell.

    Raises:
        DataError: It cannot be read, is no label image, or is not of the picture's size.
    """
    from tasks.kinds.segmentation.formats.label_images import read_labels
    from tasks.kinds.segmentation.runs import texts_of_label_image

    height, width = size
    try:
        labels = read_labels(source)
    except (OSError, ValueError) as error:
        raise DataError(
            f"label image {source.name}: {error}",
            expected="[height, width], whole numbers: 0 the ground, 1, 2, ... cells",
        ) from error
    if labels.shape != (height, width):
        raise DataError(
            f"label image {source.name}: is not of its picture {picture}", expected=f"{width} x {height} pixels",
            found=f"{labels.shape[1]} x {labels.shape[0]}",
        )  # fmt: skip
    texts = list(texts_of_label_image(labels).values())
    if len(texts) == 1:
        _check_is_one_cell(texts[0], source, height, width)
    return [{"label": class_name, "mask": text, "height_px": height, "width_px": width} for text in texts]


def _check_is_one_cell(text: str, source: Path, height: int, width: int) -> None:
    """Refuse a mask of all cells together: it would be learned as one cell, and nothing would say so."""
    from tasks.kinds.segmentation.checks import MAX_REST_PERCENT
    from tasks.kinds.segmentation.shapes import measure

    shape = measure([text], [height], [width])
    rest = 100 * (1 - int(shape.largest_px[0]) / max(1, int(shape.area_px[0])))
    if rest > MAX_REST_PERCENT:
        raise DataError(
            f"label image {source.name}: holds one number beside 0, in {int(shape.pieces[0])} pieces",
            expected="a number for each cell", found="a mask of all cells together",
            fix="number them, e.g. by skimage.measure.label; cells that touch must be parted before",
        )  # fmt: skip


def read_array(path: Path) -> NDArray[Any]:
    """The array of a .npy file; nothing in it can run.

    Raises:
        DataError: It is none, or is of objects.
    """
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path.name}: cannot be read", expected="a .npy file of numbers", found=str(error)) from error


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file that is there whole or not at all."""
    with written_whole(path) as part:
        part.write_text(json.dumps(content, indent=2, default=str))
