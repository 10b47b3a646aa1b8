"""How well a network does on a split while it trains: enough to choose an epoch and a threshold by.

What gates judge by is computed elsewhere, of the finished model (`metrics.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.kind import Object
from tasks.kinds.segmentation.inference.predict import predict_picture
from tasks.kinds.segmentation.networks.finder import cells_of
from tasks.kinds.segmentation.objects import coco_masks
from tasks.kinds.segmentation.pictures import Picture
from tasks.kinds.segmentation.training.crops import Crops
from tasks.metrics import masks

Floats = NDArray[np.float64]

LEAST_SCORE = 0.05
SAME_IOU = 0.5
THRESHOLDS = np.round(np.arange(0.1, 0.91, 0.05), 2)


class Tally:
    """Predictions of a split, each right or wrong, and how many cells there are."""

    def __init__(self) -> None:
        self.scores: list[float] = []
        self.ious: list[float] = []
        """Of each prediction with its cell; 0: it has none."""
        self.cells = 0

    def add(self, scores: Iterable[float], iou: Floats) -> None:
        """Count a picture: predictions, surest first, take the free cell that they overlap most, by `SAME_IOU`.

        Args:
            scores: Of its predictions, falling.
            iou: [predictions, cells].
        """
        free = iou.copy()
        self.cells += iou.shape[1]
        for number, score in enumerate(scores):
            best = int(free[number].argmax()) if iou.shape[1] else -1
            hit = best >= 0 and free[number, best] >= SAME_IOU
            self.scores.append(float(score))
            self.ious.append(float(free[number, best]) if hit else 0.0)
            if hit:
                free[:, best] = 0

    def at(self, threshold: float) -> dict[str, float]:
        """AP as StarDist pools it, TP / (TP + FP + FN), F1 and PQ, of what scores at least so much."""
        ious = np.asarray(self.ious)[np.asarray(self.scores) >= threshold] if self.scores else np.zeros(0)
        hits = int((ious > 0).sum())
        predicted, missed = len(ious), self.cells - hits
        both = predicted + self.cells
        return {
            "AP50_pooled": hits / (predicted + missed) if predicted + missed else 1.0,
            "F1_50": 2 * hits / both if both else 1.0,
            "PQ": 2 * float(ious.sum()) / both if both else 1.0,
        }

    def best(self) -> tuple[float, dict[str, float]]:
        """The threshold with the highest pooled AP (of equal ones the middle one), and the scores there."""
        found = [self.at(float(threshold)) for threshold in THRESHOLDS]
        highest = max(each["AP50_pooled"] for each in found)
        places = [place for place, each in enumerate(found) if each["AP50_pooled"] == highest]
        place = places[len(places) // 2]
        return float(THRESHOLDS[place]), found[place]


@contextmanager
def in_use(network: Any) -> Iterator[None]:
    """Have a network that may be training predict, and go on as it was: what is frozen stays so."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def masks_tally(
    network: Any, spec: dict[str, Any], pictures: Iterable[tuple[Picture, Sequence[Object]]], device: str = "cpu"
) -> Tally:
    """Whole pictures, each with its cells, by their masks."""
    tally = Tally()
    for picture, objects in pictures:
        found = predict_picture(network, spec, picture, LEAST_SCORE, device=device)
        predicted = [masks.as_coco(each, found.height_px, found.width_px) for each in found.masks]
        truth = coco_masks(objects)
        tally.add(found.scores.tolist(), masks.iou(predicted, truth).reshape(len(predicted), len(truth)))
    return tally


@torch.inference_mode()  # type: ignore[untyped-decorator]
def boxes_tally(network: Any, crops: Crops, device: str) -> Tally:
    """The middles of a split's pictures, by the finder's boxes."""
    from torchvision.ops import box_iou

    tally = Tally()
    for index in range(len(crops)):
        picture, cells = crops.middle(index)
        ((boxes, scores, _),) = cells_of(network.finder(network.encode(picture.to(device))), LEAST_SCORE)
        iou = box_iou(boxes.cpu(), cells.boxes).double().numpy().reshape(len(boxes), len(cells))
        tally.add(scores.tolist(), iou)
    return tally


def scores_of(
    network: Any, spec: dict[str, Any], crops: Crops, device: str, *, boxes: bool, of_masks: bool
) -> tuple[dict[str, float], float | None]:
    """Scores of a split by name, and the threshold that is best for masks (None where they are not measured).

    Args:
        network: Of the spec; it is put into its mode for use, and back.
        spec: Of the network.
        crops: The split.
        device: Of the network.
        boxes: Measure the finder.
        of_masks: Measure masks.
    """
    scores: dict[str, float] = {}
    threshold = None
    with in_use(network):
        if boxes:
            _, found = boxes_tally(network, crops, device).best()
            scores["boxes_AP50_pooled"] = found["AP50_pooled"]
        if of_masks:
            pictures = ((crops.raw(index), crops.objects(index)) for index in range(len(crops)))
            threshold, found = masks_tally(network, spec, pictures, device).best()
            scores |= {**found, "min_score": threshold}
    return scores, threshold
