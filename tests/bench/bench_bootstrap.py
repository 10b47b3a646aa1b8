"""How long the paired bootstrap takes: `python tests/bench/bench_bootstrap.py`. CPU seconds of this process, one run.

300 images, 12,000 detections for each of the two models, 1,000 resamples, every metric and slice at once; by the number
of clusters, since few clusters have few distinct resamples. The reference row is what re-running faster-coco-eval
1,000 times for both models would take, measured on 3 runs.
"""

from __future__ import annotations

import time

import numpy as np
from rich.console import Console
from rich.table import Table

from tasks.metrics.bootstrap import paired_bootstrap
from tasks.metrics.boxes import Boxes
from tasks.metrics.detection import judge
from tests.metrics.reference import coco_evaluate

IMAGES, OBJECTS, DETECTIONS, RESAMPLES = 300, 30, 12_000, 1_000
CLASSES = ("sperm", "impurity")


def dense(seed: int) -> Boxes:
    """Labelled boxes as in a dense clip: 9,000 over 300 images, the second class rare."""
    rng = np.random.default_rng(seed)
    n = IMAGES * OBJECTS
    xywh = np.concatenate([rng.uniform(0, 640, (n, 2)), np.exp(rng.uniform(np.log(8), np.log(130), (n, 2)))], axis=1)
    return Boxes.of(np.repeat(np.arange(IMAGES), OBJECTS), rng.random(n) < 0.1, xywh)


def found(truth: Boxes, seed: int) -> Boxes:
    """A fair detector's boxes on them: most found, some twice, some invented."""
    rng = np.random.default_rng(seed)
    hits = rng.choice(len(truth.image), 8_000, replace=False)
    wild = rng.integers(0, len(truth.image), DETECTIONS - len(hits))
    where = np.concatenate([hits, wild])
    spread = np.where(np.arange(DETECTIONS) < len(hits), 0.05, 0.6)[:, None]
    xywh = truth.xywh[where] * (1 + spread * rng.uniform(-1, 1, (DETECTIONS, 4)))
    score = np.concatenate([rng.beta(5, 2, len(hits)), rng.beta(2, 5, len(wild))])
    return Boxes.of(truth.image[where], truth.label[where], xywh, score=score)


def main() -> None:
    """Print the table."""
    truth = dense(0)
    models = {"champion": found(truth, 1), "challenger": found(truth, 2)}
    table = Table(title=f"{RESAMPLES} resamples, {IMAGES} images, {DETECTIONS} detections a model, 2 models")
    for column in ("clusters", "what", "CPU s", "over the reference"):
        table.add_column(column, justify="right")

    start = time.process_time()
    for _ in range(3):
        coco_evaluate(models["champion"], truth, classes=2, images=IMAGES, small_px=32, large_px=96, max_detections=500)
    reference = (time.process_time() - start) / 3 * 2 * RESAMPLES
    table.add_row("-", "faster-coco-eval again each time", f"{reference:.0f}", "1")

    start = time.process_time()
    judged = {name: judge(boxes, truth, classes=CLASSES, images=IMAGES) for name, boxes in models.items()}
    matching = time.process_time() - start
    table.add_row("-", "matching both models", f"{matching:.2f}", "")
    for clusters in (3, 10, 30, 100, 300):
        cluster = np.arange(IMAGES) % clusters
        start = time.process_time()
        paired_bootstrap({n: j.statistic for n, j in judged.items()}, cluster, resamples=RESAMPLES, seed=0)
        spent = time.process_time() - start
        table.add_row(str(clusters), "all metrics, classes and sizes", f"{spent:.2f}", f"1/{reference / spent:.0f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
