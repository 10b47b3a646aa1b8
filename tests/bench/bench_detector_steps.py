"""What a training step of a detector costs, beside one of detection-from-scratch: architectures and their options.

    OMP_NUM_THREADS=1 python -m tests.bench.bench_detector_steps [--imgsz 640] [--batch 8] [--rounds 5] [--only WORD]

CPU seconds of a step on one batch that is in memory: forward, loss, backward, optimizer, average of weights; no
augmentation, no validation. All take their steps in turns, in one process with one thread; the least of the rounds
counts, which other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.kinds.detection.small_trainings import set_up, teacher_file

SCRATCH, IMAGENET = "detection-from-scratch", "detection-from-imagenet"
STAGES = ({"epochs": 2},)
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "p3-small": (SCRATCH, {"model": "p3-small.yaml"}),
    "p3-small attention=cbam": (SCRATCH, {"model": "p3-small.yaml", "attention": "cbam"}),
    "p3-small attention=coordinate": (SCRATCH, {"model": "p3-small.yaml", "attention": "coordinate"}),
    "p3-small attention=shuffle": (SCRATCH, {"model": "p3-small.yaml", "attention": "shuffle"}),
    "p3-small iou_loss=giou": (SCRATCH, {"model": "p3-small.yaml", "iou_loss": "giou"}),
    "p3-p5-small": (SCRATCH, {"model": "p3-p5-small.yaml"}),
    "p3-small teacher=p3-small": (SCRATCH, {"model": "p3-small.yaml", "teacher": "p3-small.yaml"}),
    "p3-small teacher=p3-small, features": (
        SCRATCH, {"model": "p3-small.yaml", "teacher": "p3-small.yaml", "distill_features": 1.0},
    ),
    "p3-p5-small teacher=yolo11n": (SCRATCH, {"model": "p3-p5-small.yaml", "teacher": "yolo11n.yaml"}),
    "p3-p5-small teacher=yolo11m": (SCRATCH, {"model": "p3-p5-small.yaml", "teacher": "yolo11m.yaml"}),
    "yolo11n": (SCRATCH, {"model": "yolo11n.yaml"}),
    "lite0-p2-p4": (IMAGENET, {"model": "lite0-p2-p4.yaml", "stages": STAGES}),
    "lite0-p2-p4 freeze=backbone": (IMAGENET, {"model": "lite0-p2-p4.yaml", "stages": STAGES, "freeze": "backbone"}),
    "lite0-p2-p4 attention=cbam": (IMAGENET, {"model": "lite0-p2-p4.yaml", "stages": STAGES, "attention": "cbam"}),
    "lite0-p2-p4 attention=coordinate": (
        IMAGENET, {"model": "lite0-p2-p4.yaml", "stages": STAGES, "attention": "coordinate"},
    ),
    "lite0-p2-p4 attention=shuffle": (
        IMAGENET, {"model": "lite0-p2-p4.yaml", "stages": STAGES, "attention": "shuffle"},
    ),
    "lite0-p3-p5": (IMAGENET, {"model": "lite0-p3-p5.yaml", "stages": STAGES}),
    "lite0-p3-p5 freeze=backbone": (IMAGENET, {"model": "lite0-p3-p5.yaml", "stages": STAGES, "freeze": "backbone"}),
}  # fmt: skip


def prepared(folder: Path, recipe: str, changes: dict[str, Any], imgsz: int, batch: int) -> tuple[Any, Any]:
    """A trainer, and the batch that it takes its steps on."""
    if "teacher" in changes:  # the name of an architecture stands for weights of it
        changes = {**changes, "teacher": teacher_file(folder / "teacher", changes["teacher"])}
    trainer = set_up(
        folder / "run", recipe, imgsz=imgsz, batch=batch, nbs=batch, enlarge=True, verbose=False, **changes
    )
    images = trainer.train_loader.dataset
    trainer._model_train()
    return trainer, trainer.preprocess_batch(images.collate_fn([images[index] for index in range(batch)]))


def step_s(trainer: Any, batch: Any) -> float:
    """CPU seconds of one step."""
    began = time.process_time()
    loss, _ = trainer.model(dict(batch))
    loss.sum().backward()
    trainer.optimizer_step()
    return time.process_time() - began


def main() -> None:
    """Measure and print, one line each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--batch", type=int, default=8, help="of 8 images at most")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[], help="words, one of which is in the name")
    given = parser.parse_args()
    chosen = {
        name: variant
        for name, variant in VARIANTS.items()
        if name == "p3-small" or not given.only or any(word in name for word in given.only)
    }
    least: dict[str, float] = dict.fromkeys(chosen, float("inf"))
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(given.rounds):
            for number, (name, (recipe, changes)) in enumerate(chosen.items()):
                # Anew each time: all of them together would not fit in memory.
                trainer, batch = prepared(Path(folder) / f"{turn}-{number}", recipe, changes, given.imgsz, given.batch)
                step_s(trainer, batch)
                least[name] = min(least[name], step_s(trainer, batch))
    plain = least["p3-small"]
    for name, spent in least.items():
        print(f"{name:36} {spent:7.2f} s a step  {1 / spent:6.2f} steps/s  {spent / plain:5.2f} x p3-small", flush=True)


if __name__ == "__main__":
    main()
