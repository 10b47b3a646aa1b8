"""How long the paired bootstrap takes: `python tests/bench/bench_bootstrap.py`. CPU seconds of this process, one run.

Every metric of every class and size (AP, AR, precision, recall, F1, counts, calibration) of champion and challenger, on
the same resamples. First by the number of resamples and the size of the test split; then by the number of clusters,
since few clusters have few distinct resamples. The budget: 1,000 resamples of 300 images, with 12,000 detections for
each of the two models, in 3 CPU seconds. The naive way, faster-coco-eval on every resample for both models, is
extrapolated from one run of it. "Judging" is what is done once: matching, error breakdown, curves.
"""

from __future__ import annotations

import time

import numpy as np
from rich.console import Console
from rich.table import Table

from tasks.metrics.bootstrap import paired_bootstrap
from tasks.metrics.boxes import Boxes
from tasks.metrics.detection import judge
from tasks.metrics.judgement import Judgement
from tests.metrics.reference import coco_evaluate

IMAGES, RESAMPLES = 300, 1_000
OBJECTS, DETECTIONS, HITS = 30, 40, 27
"""Per image."""
CLASSES = ("sperm", "impurity")
SIZES = ((300, 200), (300, 1_000), (300, 5_000), (100, 1_000), (1_000, 1_000))
"""Images, resamples."""
BUDGET_CPU_S = 3.0


def dense(seed: int, images: int) -> Boxes:
    """Labelled boxes as in a dense clip: 30 an image, the second class rare."""
    rng = np.random.default_rng(seed)
    n = images * OBJECTS
    xywh = np.concatenate([rng.uniform(0, 640, (n, 2)), np.exp(rng.uniform(np.log(8), np.log(130), (n, 2)))], axis=1)
    return Boxes.of(np.repeat(np.arange(images), OBJECTS), rng.random(n) < 0.1, xywh)


def found(truth: Boxes, seed: int, images: int) -> Boxes:
    """A fair detector's boxes on them: most found, some twice, some invented; 40 an image."""
    rng = np.random.default_rng(seed)
    hits = rng.choice(len(truth.image), HITS * images, replace=False)
    wild = rng.integers(0, len(truth.image), DETECTIONS * images - len(hits))
    where = np.concatenate([hits, wild])
    spread = np.where(np.arange(len(where)) < len(hits), 0.05, 0.6)[:, None]
    xywh = truth.xywh[where] * (1 + spread * rng.uniform(-1, 1, (len(where), 4)))
    score = np.concatenate([rng.beta(5, 2, len(hits)), rng.beta(2, 5, len(wild))])
    return Boxes.of(truth.image[where], truth.label[where], xywh, score=score)


def judged_models(images: int) -> tuple[dict[str, Judgement], float, float]:
    """Both models judged on so many images; the CPU seconds of that, and those of the reference for both."""
    truth = dense(0, images)
    models = {"champion": found(truth, 1, images), "challenger": found(truth, 2, images)}
    start = time.process_time()
    coco_evaluate(models["champion"], truth, classes=2, images=images, small_px=32, large_px=96, max_detections=500)
    reference = 2 * (time.process_time() - start)
    start = time.process_time()
    judged = {name: judge(boxes, truth, classes=CLASSES, images=images) for name, boxes in models.items()}
    return judged, time.process_time() - start, reference


def resampled(judged: dict[str, Judgement], images: int, clusters: int, resamples: int) -> float:
    """CPU seconds of the bootstrap."""
    cluster = np.arange(images) % clusters
    start = time.process_time()
    paired_bootstrap({n: j.statistic for n, j in judged.items()}, cluster, resamples=resamples, seed=0)
    return time.process_time() - start


def main() -> None:
    """Print both tables; fails where the budget is not kept."""
    console = Console(width=118)
    judged_models(20)  # imports and warm-up
    known: dict[int, tuple[dict[str, Judgement], float, float]] = {}
    by_size = Table(title=f"2 models, {DETECTIONS} detections an image, all metrics, classes and sizes, 100 clusters")
    for column in ("images", "detections", "resamples", "judging", "bootstrap", "naive re-evaluation", "faster by"):
        by_size.add_column(column, justify="right")
    for images, resamples in SIZES:
        if images not in known:
            known[images] = judged_models(images)
        judged, judging, reference = known[images]
        spent, naive = resampled(judged, images, 100, resamples), reference * resamples
        if (images, resamples) == (IMAGES, RESAMPLES):
            budget = spent
        by_size.add_row(f"{images:,}", f"{2 * DETECTIONS * images:,}", f"{resamples:,}", f"{judging:.2f} s",
                        f"{spent:.2f} s", f"{naive:,.0f} s", f"{naive / spent:.0f}x")  # fmt: skip
    console.print(by_size)

    by_clusters = Table(title=f"{IMAGES} images, {RESAMPLES:,} resamples")
    for column in ("clusters", "bootstrap"):
        by_clusters.add_column(column, justify="right")
    for clusters in (3, 5, 10, 30, 100, 300):
        by_clusters.add_row(str(clusters), f"{resampled(known[IMAGES][0], IMAGES, clusters, RESAMPLES):.2f} s")
    console.print(by_clusters)
    verdict = "kept" if budget <= BUDGET_CPU_S else "NOT KEPT"
    console.print(
        f"budget of {BUDGET_CPU_S:g} CPU s at {IMAGES} images, {RESAMPLES:,} resamples: {budget:.2f} s, {verdict}"
    )
    raise SystemExit(budget > BUDGET_CPU_S)


if __name__ == "__main__":
    main()
