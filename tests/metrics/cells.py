"""Random label images, predictions that are near them, and the same through the reference implementations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.metrics.masks import encode
from tasks.metrics.operating_point import size_ranges
from tasks.metrics.segmentation_masks import Masks

Labels = NDArray[np.int32]


@dataclass(frozen=True)
class Scene:
    """Label images 1..n without gaps, the class of each cell, and the score of each predicted one."""

    truth: list[Labels]
    predicted: list[Labels]
    classes: list[NDArray[np.int64]]
    predicted_classes: list[NDArray[np.int64]]
    scores: list[NDArray[np.float64]]

    def masks(self) -> tuple[Masks, Masks]:
        """Predictions and truth."""
        return (
            masks_of(self.predicted, self.predicted_classes, self.scores),
            masks_of(self.truth, self.classes, None),
        )


def masks_of(
    pictures: list[Labels], classes: list[NDArray[np.int64]], scores: list[NDArray[np.float64]] | None
) -> Masks:
    counts = [encode(labels == k) for labels in pictures for k in range(1, int(labels.max()) + 1)]
    image = np.repeat(np.arange(len(pictures)), [int(labels.max()) for labels in pictures])
    return Masks.of(
        image, np.concatenate(classes), counts, [labels.shape for labels in pictures],
        None if scores is None else np.concatenate(scores),
    )  # fmt: skip


def scene(
    seed: int, *, images: int = 6, cells: int = 9, classes: int = 1, empty: bool = True, ties: bool = False
) -> Scene:
    """Discs that touch; predictions are moved, grown, missed, merged and invented ones. The first may hold nothing."""
    rng = np.random.default_rng(seed)
    out = Scene([], [], [], [], [])
    for number in range(images):
        shape = (int(rng.integers(50, 80)), int(rng.integers(50, 80)))
        n = 0 if empty and number == 0 else int(rng.integers(1, cells + 1))
        discs = [(rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(3, 10)) for _ in range(n)]
        truth, kept = _sequential(_drawn(shape, discs))
        label = rng.integers(0, classes, n)[kept]
        off = [
            (y + rng.normal(0, 1.5), x + rng.normal(0, 1.5), r * rng.uniform(0.7, 1.25))
            for y, x, r in discs if rng.random() < 0.85
        ]  # fmt: skip
        off += [
            (rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(3, 9)) for _ in range(rng.integers(0, 3))
        ]
        predicted, _ = _sequential(_drawn(shape, off))
        if predicted.max() > 3 and rng.random() < 0.3:
            predicted, _ = _sequential(np.where(predicted == 2, 3, predicted))
        m = int(predicted.max())
        score = np.round(rng.random(m), 1 if ties else 9)
        out.truth.append(truth)
        out.predicted.append(predicted)
        out.classes.append(label)
        out.predicted_classes.append(
            np.array(
                [_class_under(truth, predicted == k, label, rng, classes) for k in range(1, m + 1)], dtype=np.int64
            )
        )
        out.scores.append(score)
    return out


def _drawn(shape: tuple[int, int], discs: list[tuple[float, float, float]]) -> Labels:
    y, x = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, dtype=np.int32)
    for number, (cy, cx, r) in enumerate(discs, 1):
        labels[(y - cy) ** 2 + (x - cx) ** 2 <= r**2] = number
    return labels


def _sequential(labels: Labels) -> tuple[Labels, NDArray[np.int64]]:
    """Without the numbers that nothing is left of; and the places of those that are left."""
    numbers = np.unique(labels)
    numbers = numbers[numbers > 0]
    return np.where(labels > 0, np.searchsorted(numbers, labels) + 1, 0).astype(np.int32), numbers - 1


def _class_under(truth: Labels, mask: NDArray[np.bool_], label: NDArray[np.int64], rng: Any, classes: int) -> int:
    """Mostly the class of what lies under a prediction."""
    under = np.bincount(truth[mask], minlength=2)[1:].argmax() if truth[mask].any() else -1
    return int(label[under]) if under >= 0 and rng.random() < 0.85 else int(rng.integers(0, classes))


def coco_masks(predictions: Masks, truth: Masks, *, classes: int, small_px: float, large_px: float) -> Any:
    """faster-coco-eval's `eval` on run lengths; its precision is [T, R, K, A, M], -1 = nothing to find."""
    from faster_coco_eval import COCO, COCOeval_faster

    def rle(masks: Masks, i: int) -> dict[str, Any]:
        return {"size": masks.size_px[masks.image[i]].tolist(), "counts": masks.counts[i]}

    annotations = [
        {"id": i + 1, "image_id": int(truth.image[i]), "category_id": int(truth.label[i]), "area": truth.area[i],
         "iscrowd": 0, "segmentation": rle(truth, i), "bbox": [0, 0, 1, 1]}
        for i in range(len(truth.image))
    ]  # fmt: skip
    pictures = [
        {"id": i, "height": int(h), "width": int(w), "file_name": f"{i}.png"} for i, (h, w) in enumerate(truth.size_px)
    ]
    reference = COCO({"images": pictures, "categories": [{"id": c, "name": str(c)} for c in range(classes)],
                      "annotations": annotations})  # fmt: skip
    found = reference.loadRes(
        [{"image_id": int(predictions.image[i]), "category_id": int(predictions.label[i]),
          "score": float(predictions.score[i]), "segmentation": rle(predictions, i)}
         for i in range(len(predictions.image))]
    )  # fmt: skip
    run = COCOeval_faster(reference, found, iouType="segm")
    ranges = size_ranges(small_px, large_px)
    run.params.areaRng, run.params.areaRngLbl = [list(r) for r in ranges.values()], list(ranges)
    run.params.maxDets = [10_000]
    run.params.imgIds, run.params.catIds = list(range(truth.images)), list(range(classes))
    run.evaluate()
    run.accumulate()
    return run.eval


def panoptic(scene: Scene, classes: int) -> Any:
    """torchmetrics' PQ, SQ and RQ of each class, [3, C]."""
    import torch
    from torchmetrics.detection import PanopticQuality

    metric = PanopticQuality(
        things=set(range(1, classes + 1)), stuffs={0}, return_sq_and_rq=True, return_per_class=True
    )
    for number in range(len(scene.truth)):
        pairs = []
        for labels, of in ((scene.predicted[number], scene.predicted_classes), (scene.truth[number], scene.classes)):
            kind = np.concatenate([[0], of[number] + 1])[labels]
            pairs.append(torch.from_numpy(np.stack([kind, labels], axis=-1))[None])
        metric.update(*pairs)
    return metric.compute().numpy()[:classes].T


def slow_aji(truth: Labels, predicted: Labels) -> tuple[int, int]:
    """Kumar's algorithm, word for word: pixels shared and united."""
    shared = united = 0
    used = set()
    for k in range(1, int(truth.max()) + 1):
        cell, best, joined = truth == k, 0.0, None
        for j in range(1, int(predicted.max()) + 1):
            both = int((cell & (predicted == j)).sum())
            if both and both / int((cell | (predicted == j)).sum()) > best:
                best, joined = both / int((cell | (predicted == j)).sum()), j
        if joined is None:
            united += int(cell.sum())
        else:
            used.add(joined)
            shared += int((cell & (predicted == joined)).sum())
            united += int((cell | (predicted == joined)).sum())
    united += sum(int((predicted == j).sum()) for j in range(1, int(predicted.max()) + 1) if j not in used)
    return shared, united
