"""Tiny pictures that a classifier learns in seconds, and jobs that train on them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tasks.config import RecipeChoice
from tasks.kind import Event, Job
from tasks.kinds.classification.dataset import ImageDataset, LabelledImage
from tasks.kinds.classification.recipe import load_recipe
from tasks.kinds.classification.train import options
from tasks.training import supervise

CLASSES = ("disc", "bar", "empty")
TINY = {
    "model": "small-cnn", "imgsz": 32, "batch": 8, "epochs": 3, "lr": 0.002, "brightness": 0.1, "contrast": 0.1,
    "saturation": 0.0, "hue": 0.0,
}  # fmt: skip


def picture(shape: str, random: np.random.Generator, side: int = 40) -> Any:
    """A bright disc, a bar, or nothing, on a dark ground; BGR."""
    image = random.integers(0, 40, (side, side + 8, 3), dtype=np.uint8)
    x, y = (int(value) for value in random.integers(12, side - 12, 2))
    if shape == "disc":
        cv2.circle(image, (x, y), 8, (230, 230, 230), -1)
    elif shape == "bar":
        cv2.rectangle(image, (x - 11, y - 2), (x + 11, y + 2), (230, 230, 230), -1)
    return image


def write_dataset(
    folder: Path, *, val: bool = True, images: int = 12, multi_label: bool = False, classes: tuple[str, ...] = CLASSES
) -> Path:
    """So many pictures of each class for training, a third for validation and test. Returns `dataset.json`.

    In a multi-label dataset every fifth label is missing.
    """
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    rows = []
    for split, count in (("train", images), *((("val", images // 3),) if val else ()), ("test", images // 3)):
        for index in range(count * len(classes)):
            shape = index % len(classes)
            name = f"images/{split}-{index:03d}.png"
            cv2.imwrite(str(folder / name), picture(classes[shape], random))
            targets: list[float | None] = [float(shape == each) for each in range(len(classes))]
            if multi_label:
                targets = [None if (index + place) % 5 == 0 else value for place, value in enumerate(targets)]
            rows.append(LabelledImage(file=name, split=split, group=name, targets=tuple(targets)))  # type: ignore[arg-type]
    dataset = ImageDataset(classes=classes, multi_label=multi_label, images=tuple(rows))
    (folder / "dataset.json").write_text(dataset.model_dump_json())
    return folder / "dataset.json"


def pictures_to_test(data: Path) -> tuple[list[Any], Any]:
    """The test split: BGR images, and targets [n, classes]."""
    dataset = ImageDataset.read(data)
    images = [image for image in dataset.images if image.split == "test"]
    targets = [[float("nan") if value is None else value for value in image.targets] for image in images]
    return [cv2.imread(str(data.parent / image.file)) for image in images], np.array(targets)


def job(data: Path, folder: Path, *, name: str = "from-scratch", val: bool = True, **changes: Any) -> Job:
    """A training of a recipe with changes."""
    recipe = load_recipe(RecipeChoice(name=name, seed=changes.pop("seed", 0), **changes))
    folder.mkdir(parents=True, exist_ok=True)
    installed = recipe.installed_weights()
    return Job(
        kind="classification", run_key="c" * 64, folder=folder, data=data, has_val=val, seed=recipe.seed,
        options=options(recipe, data), weights=installed[0] if installed else None, state_dir=folder,
        locks_dir=folder / "locks", parent_pid=os.getpid(), threads=1, progress_every_s=0.0,
    )  # fmt: skip


def train_here(asked: Job) -> list[Event]:
    """Train in this process: faster than a worker, and the same code."""
    from tasks.kinds.classification.train import train

    events: list[Event] = []
    train(asked, lambda event, **content: events.append({"event": event, **content}))
    return events


def train_in_worker(asked: Job) -> list[Event]:
    """Train as a night does, in a process of its own."""
    return list(supervise.events(asked, asked.folder / "training.log"))


def of(events: Iterable[Event], name: str) -> list[Event]:
    """The events of that name."""
    return [event for event in events if event["event"] == name]
