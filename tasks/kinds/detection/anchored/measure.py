"""Average precision of a network in training, on the validation split: enough to choose an epoch by.

By pycocotools, with its 100 detections a picture. What gates judge by is computed elsewhere, of the finished model.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import numpy as np

from tasks.kinds.detection.anchored.dataset import Split
from tasks.kinds.detection.anchored.retinanet import find

_SCORES_FROM = 0.01
_IOU, _MOST = 0.6, 100


def average_precisions(network: Any, split: Split, imgsz: int, device: str) -> dict[str, float]:
    """`average_precisions_of` a network of torchvision's."""

    def look(image: Any) -> Any:
        return find(network, [image], imgsz, _SCORES_FROM, iou=_IOU, max_det=_MOST, device=device)[0]

    return average_precisions_of(look, split)


def average_precisions_of(look: Callable[[Any], Any], split: Split) -> dict[str, float]:
    """AP50, AP50_95, and AP50 of each class (`AP50/<class>`), as COCO has them; 0 where nothing can be said.

    Args:
        look: Finds boxes [n, 6] in an image: x1, y1, x2, y2 in pixels, score, class index.
        split: What is looked at.
    """
    found, truth = [], []
    for number in range(1, len(split) + 1):
        example = split.read(number - 1)
        boxes = look(example.image)
        found += [_entry(number, int(each[5]), each[:4]) | {"score": float(each[4])} for each in boxes]
        truth += [_entry(number, int(label), box) for box, label in zip(example.boxes, example.labels, strict=True)]
    precision = _precision(found, truth, len(split), len(split.classes))
    at_50 = [_mean(precision[0, :, label]) for label in range(len(split.classes))]
    there = [label for label in range(len(split.classes)) if (precision[0, :, label] > -1).any()]
    return {
        "AP50": float(np.mean([at_50[label] for label in there])) if there else 0.0,
        "AP50_95": _mean(precision),
        **{f"AP50/{name}": at_50[label] for label, name in enumerate(split.classes)},
    }


def _precision(found: list[dict[str, Any]], truth: list[dict[str, Any]], images: int, classes: int) -> Any:
    """Precision at 10 overlaps, 101 recalls and each class, [10, 101, classes]; -1 where a class has no object."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if not found or not truth:
        return np.zeros((10, 101, classes))
    with redirect_stdout(io.StringIO()):  # it prints
        labelled = COCO()
        labelled.dataset = {
            "images": [{"id": number} for number in range(1, images + 1)],
            "categories": [{"id": label} for label in range(classes)],
            "annotations": [{"id": n, **each} for n, each in enumerate(truth, 1)],
        }
        labelled.createIndex()
        evaluation = COCOeval(labelled, labelled.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, :, 0, -1]


def _entry(image: int, label: int, box: Any) -> dict[str, Any]:
    x1, y1, x2, y2 = (float(value) for value in box)
    sides = [x1, y1, x2 - x1, y2 - y1]
    return {"image_id": image, "category_id": label, "bbox": sides, "area": sides[2] * sides[3], "iscrowd": 0}


def _mean(precision: Any) -> float:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else 0.0
