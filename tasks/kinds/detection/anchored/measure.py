"""Average precision of a network in training, on the validation split. Used by the worker only."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.kinds.detection.anchored.dataset import Split
from tasks.kinds.detection.anchored.retinanet import find
from tasks.metrics.boxes import Boxes
from tasks.metrics.detection import judge

_SCORES_FROM = 0.01
_IOU, _MOST = 0.6, 300


def average_precisions(network: Any, split: Split, imgsz: int, device: str) -> dict[str, float]:
    """AP50, AP50_95, and AP50 of each class (`AP50/<class>`), as COCO has them; 0 where nothing can be said."""
    found, truth = [], []
    for number in range(len(split)):
        example = split.read(number)
        (boxes,) = find(network, [example.image], imgsz, _SCORES_FROM, iou=_IOU, max_det=_MOST, device=device)
        found += [(number, int(each[5]), *_xywh(each), float(each[4])) for each in boxes]
        truth += [(number, int(label), *_xywh(box)) for box, label in zip(example.boxes, example.labels, strict=True)]
    predicted, labelled = np.array(found).reshape(-1, 7), np.array(truth).reshape(-1, 6)
    judged = judge(
        Boxes.of(predicted[:, 0], predicted[:, 1], predicted[:, 2:6], score=predicted[:, 6]),
        Boxes.of(labelled[:, 0], labelled[:, 1], labelled[:, 2:6]),
        classes=tuple(split.classes), images=len(split),
    )  # fmt: skip
    values = judged.statistic(np.ones((1, len(split)), np.int64))
    measured = {"AP50": values[("AP50",)], "AP50_95": values[("AP50_95",)]}
    measured |= {f"AP50/{name}": values[("per_class", name, "AP50")] for name in split.classes}
    return {name: float(np.nan_to_num(np.asarray(value).ravel()[0])) for name, value in measured.items()}


def _xywh(box: Any) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(value) for value in box[:4])
    return x1, y1, x2 - x1, y2 - y1
