"""What a training step of a detector costs with each augmentation, and with each means against uneven classes.

    OMP_NUM_THREADS=1 python -m tests.bench.bench_augmentation

The shipped small model, 704 px, eight frames a step, one thread, on a CPU. The variants take turns, so that whatever
else the machine does meets all of them; a ratio is CPU time over that of the plain recipe in the same run. Frames are
read, changed, and learned from; validation and checkpoints are left out. Of the single effects what each takes of one
frame, boxes fitted again, where it happens.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tasks.config import RecipeChoice
from tasks.kind import Job
from tasks.kinds.detection.job import DetectorJob
from tasks.kinds.detection.recipe import load_recipe
from tasks.kinds.detection.train import options, ultralytics_arguments
from tasks.training import ultralytics_offline as offline
from tasks.training.microscope import EFFECTS, MICROSCOPE, microscope
from tasks.training.ultralytics_knobs import apart
from tasks.training.ultralytics_stages import stages_of
from tests.bench.bench_training import write_images

IMAGES = 32
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "repeat_threshold: 1": {"repeat_threshold": 1.0},
    "balanced_batches": {"balanced_batches": True},
    "class_weights: effective": {"class_weights": "effective"},
    "focal_gamma: 1.5": {"focal_gamma": 1.5},
    "copy_paste: 0.5": {"copy_paste": 0.5},
    "copy_paste: 1, rare": {"copy_paste": 1.0, "copy_paste_classes": "rare"},
    **{f"microscope: {word}": {"microscope": word} for word in MICROSCOPE},
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=3, help="of each variant in a round")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightscope-") as scratch:
        data = uneven_images(Path(scratch) / "data")
        trainers = {name: trainer(Path(scratch) / name, data, changes) for name, changes in VARIANTS.items()}
        seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
        for number in range(asked.rounds + 1):
            for name, (each, batches) in trainers.items():
                began = time.process_time()
                for _ in range(asked.steps):
                    step(each, next(batches))
                if number:  # the first one warms up
                    seconds[name].append((time.process_time() - began) / asked.steps)
    plain = np.array(seconds["plain"])
    for name, found in seconds.items():
        ratios = np.array(found) / plain
        between = f"[{min(ratios):.3f}, {max(ratios):.3f}]"
        print(f"{name:26} {np.median(found):6.3f} s a step, ratio {np.median(ratios):.3f} {between}")
    for name in EFFECTS:
        print(f"{name:12} {effect_ms(name):6.1f} ms a frame")


def uneven_images(folder: Path) -> Path:
    """As `bench_training`, with an object of a second class in every eighth picture; the path of data.yaml."""
    data = write_images(folder, IMAGES, 704)
    for path in sorted((folder / "labels/train").glob("*.txt"))[::8]:
        path.write_text(f"{path.read_text()}\n1 0.5 0.5 0.05 0.05")
    data.write_text(data.read_text().replace("{0: sperm}", "{0: sperm, 1: impurity}"))
    return data


def trainer(folder: Path, data: Path, changes: dict[str, Any]) -> tuple[Any, Iterator[Any]]:
    """A trainer that is set up, and its batches without end."""
    from tasks.kinds.detection.trainer import ResumableDetectionTraining

    folder.mkdir()
    recipe = load_recipe(RecipeChoice(name="detection-from-scratch", workers=0, plots=False, **changes))
    job = DetectorJob.of(Job(
        kind="detection", run_key="a" * 64, folder=folder, data=data, has_val=True, seed=0,
        options=options(recipe, data), state_dir=folder, locks_dir=folder, parent_pid=os.getpid(), threads=1,
    ))  # fmt: skip
    offline.prepare(job.config_dir, 1)
    (stage,) = stages_of(job.arguments, job.min_steps, IMAGES)
    arguments, knobs = apart(ultralytics_arguments(job, stage, "cpu", data, folder / "run", resuming=False))
    made = ResumableDetectionTraining(arguments, has_val=True, knobs=knobs, stage=stage)
    made._setup_train()
    made.model.train()

    def batches() -> Iterator[Any]:
        while True:
            yield from made.train_loader

    return made, batches()


def step(trainer: Any, batch: Any) -> None:
    """Learn from one batch."""
    loss, _ = trainer.model(trainer.preprocess_batch(batch))
    loss.sum().backward()
    trainer.optimizer_step()


def effect_ms(name: str) -> float:
    """What an effect takes of one frame of 704 px with fifty boxes: the median of twenty, in milliseconds."""
    from tasks.training.microscope_transforms import MicroscopeEffects

    plan = microscope({name: 1.0})
    assert plan is not None
    change, random = MicroscopeEffects(plan), np.random.default_rng(0)
    image = random.integers(0, 255, (704, 704, 3), dtype=np.uint8)
    corners = random.uniform(0, 660, (50, 2)).astype(np.float32)
    boxes, taken = np.concatenate([corners, corners + 24], axis=1), []
    for seed in range(20):
        began = time.process_time()
        change(image, boxes, seed)
        taken.append(time.process_time() - began)
    return float(np.median(taken)) * 1000


if __name__ == "__main__":
    main()
