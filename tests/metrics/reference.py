"""The same boxes through faster-coco-eval, and random scenes to put through both."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.metrics.boxes import Boxes
from tasks.metrics.detection import size_ranges


def coco_evaluate(
    predictions: Boxes,
    truth: Boxes,
    *,
    classes: int,
    images: int,
    small_px: float,
    large_px: float,
    max_detections: int,
) -> Any:
    """Run the reference; its `eval["precision"]` is [T, R, K, A, M], -1 = nothing to find."""
    from faster_coco_eval import COCO, COCOeval_faster

    annotations = [
        {
            "id": i + 1,
            "image_id": int(image),
            "category_id": int(label),
            "bbox": box.tolist(),
            "area": float(box[2] * box[3]),
            "iscrowd": int(crowd),
        }
        for i, (image, label, box, crowd) in enumerate(
            zip(truth.image, truth.label, truth.xywh, truth.crowd, strict=True)
        )
    ]
    reference = COCO(
        {
            "images": [{"id": i, "width": 700, "height": 500, "file_name": f"{i}.jpg"} for i in range(images)],
            "categories": [{"id": c, "name": str(c)} for c in range(classes)],
            "annotations": annotations,
        }
    )
    found = reference.loadRes(
        [
            {"image_id": int(image), "category_id": int(label), "bbox": box.tolist(), "score": float(score)}
            for image, label, box, score in zip(
                predictions.image, predictions.label, predictions.xywh, predictions.score, strict=True
            )
        ]
    )
    run = COCOeval_faster(reference, found, iouType="bbox")
    ranges = size_ranges(small_px, large_px)
    run.params.areaRng, run.params.areaRngLbl = [list(r) for r in ranges.values()], list(ranges)
    run.params.maxDets = [max_detections]
    run.params.imgIds, run.params.catIds = list(range(images)), list(range(classes))
    run.evaluate()
    run.accumulate()
    return run.eval


def scene(
    seed: int,
    *,
    images: int = 12,
    classes: int = 3,
    objects: int = 8,
    false_alarms: int = 5,
    crowds: float = 0.0,
    ties: bool = False,
    jitter: float = 0.15,
    side: tuple[float, float] = (8, 140),
) -> tuple[Boxes, Boxes]:
    """Random truth and predictions that are near it, miss some, repeat some, and invent some."""
    rng = np.random.default_rng(seed)
    n = rng.integers(0, objects + 1, images)
    where = np.repeat(np.arange(images), n)
    label = rng.integers(0, classes, len(where))
    xywh = np.concatenate([rng.uniform(0, 400, (len(where), 2)), rng.uniform(*side, (len(where), 2))], axis=1)
    truth = Boxes.of(where, label, xywh, crowd=rng.random(len(where)) < crowds)
    seen = np.flatnonzero(rng.random(len(where)) < 0.85)
    seen = np.concatenate([seen, rng.choice(seen, len(seen) // 4)]) if len(seen) else seen
    near = xywh[seen] * rng.uniform(1 - jitter, 1 + jitter, (len(seen), 4))
    m = false_alarms * images
    invented = np.concatenate([rng.uniform(0, 400, (m, 2)), rng.uniform(*side, (m, 2))], axis=1)
    score = rng.random(len(seen) + m)
    order = rng.permutation(len(score))
    flipped = np.where(rng.random(len(seen)) < 0.1, rng.integers(0, classes, len(seen)), label[seen])
    predictions = Boxes.of(
        np.concatenate([where[seen], rng.integers(0, images, m)])[order],
        np.concatenate([flipped, rng.integers(0, classes, m)])[order],
        np.concatenate([near, invented])[order],
        score=(np.round(score, 1) if ties else score)[order],
    )
    return predictions, truth
