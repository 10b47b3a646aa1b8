"""What a label says of a picture: one object for each cell.

    {"label": <class>, "mask": <run lengths>, "height_px": <int>, "width_px": <int>}

`mask` is COCO's compressed text of run lengths (`tasks.metrics.masks`), of the whole frame, whose size stands beside
it. `"at_border": true` is added by the checks where the picture cuts the cell; `"crosses_itself": true` by the reader
of a polygon whose edges cross (the checks set it aside).

A cell that is only boxed, for a model to fill:

    {"label": <class>, "x_px": <float>, "y_px": <float>, "width_px": <float>, "height_px": <float>, "to_fill": true}

It counts as no label, and a picture that has one is neither learned from nor tested on until its cells are filled. With
`"crowd": true` it holds cells that nobody can tell apart (COCO's `iscrowd`): not one cell, and not to be filled as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.kind import Object
from tasks.metrics import masks
from tasks.metrics.segmentation_outlines import painted


def mask_object(label: str, mask: NDArray[Any], **more: Any) -> Object:
    """The object of a mask [height, width] of a whole frame."""
    height, width = mask.shape
    return {"label": label, "mask": masks.encode(mask), "height_px": height, "width_px": width, **more}


def is_to_fill(item: Object) -> bool:
    """Whether an object is a box alone, for a model to fill."""
    return item.get("to_fill") is True


def is_crowd(item: Object) -> bool:
    """Whether a box to fill holds cells that nobody can tell apart."""
    return item.get("crowd") is True


def filled(objects: Iterable[Object]) -> list[Object]:
    """Those that have a mask."""
    return [item for item in objects if not is_to_fill(item)]


def coco_masks(objects: Sequence[Object]) -> list[dict[str, Any]]:
    """Masks in the form that pycocotools takes; of checked objects, all filled."""
    return [masks.as_coco(item["mask"], item["height_px"], item["width_px"]) for item in objects]


def label_image(objects: Sequence[Object], height_px: int, width_px: int) -> NDArray[np.int32]:
    """Cells as a label image [height, width]: 0 the ground, else 1 + the object's place. Of two, the later covers."""
    return painted([item["mask"] for item in objects], height_px, width_px)
