"""Label images (an id for each cell), and folders with one mask for each cell. See `mask_names` for how they are found.

Pictures that lie beside are known by their bytes, whatever they are called. An id in several places stays one object:
the checks judge it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.config import Line
from tasks.kind import BadFile, LabelFile
from tasks.kinds.segmentation.formats.label_images import oid_of, read_labels
from tasks.kinds.segmentation.formats.mask_names import LabelImage, label_images
from tasks.kinds.segmentation.formats.records import ForeignCell
from tasks.kinds.segmentation.runs import texts_of_label_image
from tasks.labeling.formats.content import few_enough, shown_path


def read(folder: Path, line: Line) -> Iterator[LabelFile | BadFile]:
    """Every picture that has masks below a folder, by name. Label images of several classes of one picture are one."""
    groups: dict[object, list[LabelImage]] = defaultdict(list)
    for each in label_images(folder, line):
        groups[each.picture or (_without_class(each, folder, line), each.image)].append(each)
    for own in groups.values():
        classes = [each.label for each in own]
        parts = [own] if len(set(classes)) == len(classes) else [[each] for each in own]
        for part in parts:
            yield _read(part, folder, line)


def _without_class(each: LabelImage, folder: Path, line: Line) -> tuple[str, ...]:
    """The folders of a label image, but for those that are named like classes."""
    if len(line.classes) == 1:
        return each.path.parent.parts
    return tuple(part for part in each.path.parent.relative_to(folder).parts if line.class_named(part) is None)


def _read(own: Sequence[LabelImage], folder: Path, line: Line) -> LabelFile | BadFile:
    file, image = shown_path(own[0].path, folder), own[0].image
    cells: list[ForeignCell] = []
    try:
        for each in own:
            cells += _cells(each, line, cells[0] if cells else None)
        few_enough(len(cells), "cells")
        sizes = {_size(cell) for cell in cells} or {_size_of_empty(own[0])}
        (size,) = sizes
        picture = own[0].picture
        return LabelFile(
            file=file, image=image, objects=tuple(cell for cell in cells if cell.mask is not None),
            height_px=size[0], width_px=size[1], picture_oid=None if picture is None else oid_of(picture),
        )  # fmt: skip
    except (OSError, ValueError, MemoryError) as error:
        return BadFile(file, f"cannot be taken: {error or 'it does not fit into memory'}", image)


def _cells(each: LabelImage, line: Line, first: ForeignCell | None) -> list[ForeignCell]:
    if each.label is None:
        raise ValueError(
            "nothing says of which class its cells are: put it into a folder named like a class, or let its name end "
            f"in _<class> (line {line.line} has {', '.join(line.classes)})"
        )
    found = _one_a_file(each.masks, each.label) if each.masks else _one_an_id(each.path, each.label)
    sizes = {_size(cell) for cell in found} | ({_size(first)} if first else set())
    if len(sizes) > 1:
        stated = " and ".join(f"{width} x {height}" for height, width in sorted(sizes))
        raise ValueError(f"its masks are of different sizes: {stated} px")
    return found


def _one_an_id(path: Path, label: str) -> list[ForeignCell]:
    labels = read_labels(path)
    few_enough(_ids(labels), "cells")
    height_px, width_px = labels.shape
    return [ForeignCell(label, text, height_px, width_px) for text in texts_of_label_image(labels).values()]


def _ids(labels: NDArray[Any]) -> int:
    """How many ids there are, without the ground; never more than one a change along the rows."""
    flat = labels.ravel()
    values = np.unique(flat[np.concatenate([[True], flat[1:] != flat[:-1]])])
    return int((values != 0).sum())


def _one_a_file(paths: Sequence[Path], label: str) -> list[ForeignCell]:
    few_enough(len(paths), "cells")
    found = []
    for path in paths:
        try:
            found.append(_one(path, label))
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from error
    if len(paths) > 1 and (empty := [path.name for path, cell in zip(paths, found, strict=True) if cell.mask is None]):
        raise ValueError(f"{empty[0]} marks no pixel")
    return found


def _one(path: Path, label: str) -> ForeignCell:
    labels = read_labels(path)
    if (ids := _ids(labels)) > 1:
        raise ValueError(f"it holds {ids} values beside 0, expected the mask of one cell")
    height_px, width_px = labels.shape
    texts = list(texts_of_label_image(labels).values())
    return ForeignCell(label, texts[0] if texts else None, height_px, width_px)


def _size(cell: ForeignCell) -> tuple[int, int]:
    return cell.height_px, cell.width_px


def _size_of_empty(each: LabelImage) -> tuple[int, int]:
    shape = read_labels(each.path).shape
    return int(shape[0]), int(shape[1])
