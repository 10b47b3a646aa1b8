"""Tiny pictures of round cells that a segmenter learns in seconds, and jobs that train on them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tasks.config import RecipeChoice
from tasks.kind import Event, Job
from tasks.kinds.segmentation.dataset import CellDataset, LabelledPicture
from tasks.kinds.segmentation.objects import mask_object
from tasks.kinds.segmentation.recipe import SegmentationRecipe, load_recipe
from tasks.kinds.segmentation.train import options

SIDE = 64
TINY = {
    "encoder": "tiny", "weights": None, "width": 16, "imgsz": SIDE, "batch_size": 2, "min_steps": 0, "val_every": 1,
    "stage1": {"total_epochs": 2}, "stage2": {"total_epochs": 2}, "warmup_steps": 2, "ema": 0.5,
}  # fmt: skip


def cells(random: np.random.Generator, side: int = SIDE) -> tuple[Any, list[Any]]:
    """A picture of bright discs on a dark ground, uint8 [side, side, 3], and their masks; none touches another."""
    picture = random.integers(0, 30, (side, side, 3), dtype=np.uint8)
    masks: list[Any] = []
    taken = np.zeros((side, side), np.uint8)
    for _ in range(30):
        radius = int(random.integers(5, 9))
        x, y = (int(value) for value in random.integers(radius, side - radius, 2))
        around = cv2.circle(np.zeros((side, side), np.uint8), (x, y), radius + 2, 1, -1)
        if (around & taken).any():
            continue
        mask = cv2.circle(np.zeros((side, side), np.uint8), (x, y), radius, 1, -1)
        taken |= mask
        picture[mask > 0] = random.integers(150, 230)
        masks.append(mask > 0)
    return picture, masks


def write_dataset(folder: Path, *, val: bool = True, images: int = 4, empty_every: int = 0) -> Path:
    """So many training pictures, every so many without a label, and two for validation. Returns `dataset.json`."""
    random = np.random.default_rng(0)
    for name in ("images", "cells"):
        (folder / name).mkdir(parents=True)
    rows = []
    for split, count in (("train", images), ("val", 2 if val else 0)):
        for index in range(count):
            picture, masks = cells(random)
            name = f"{split}-{index:03d}"
            cv2.imwrite(str(folder / "images" / f"{name}.png"), picture)
            empty = empty_every and index % empty_every == 0
            objects = [] if empty else [mask_object("cell", mask) for mask in masks]
            (folder / "cells" / f"{name}.json").write_text(json.dumps(objects))
            rows.append(
                LabelledPicture(
                    file=f"images/{name}.png", cells=f"cells/{name}.json", split=split, group=name,  # type: ignore[arg-type]
                    height_px=SIDE, width_px=SIDE,
                )
            )  # fmt: skip
    (folder / "dataset.json").write_text(CellDataset(classes=("cell",), images=tuple(rows)).model_dump_json())
    return folder / "dataset.json"


def tuned(name: str = "two-stage", **changes: Any) -> SegmentationRecipe:
    """A recipe that is done in seconds, with changes."""
    tiny = {key: value for key, value in TINY.items() if key != "stage2" or name != "star-convex"}
    return load_recipe(RecipeChoice(name=name, seed=changes.pop("seed", 0), **{**tiny, **changes}))


def job(data: Path, folder: Path, *, name: str = "two-stage", val: bool = True, **changes: Any) -> Job:
    """A training of such a recipe."""
    recipe = tuned(name, **changes)
    folder.mkdir(parents=True, exist_ok=True)
    installed = recipe.installed_weights()
    return Job(
        kind="segmentation", run_key="c" * 64, folder=folder, data=data, has_val=val, seed=recipe.seed,
        options=options(recipe, data), weights=installed[0] if installed else None, state_dir=folder,
        locks_dir=folder / "locks", parent_pid=os.getpid(), threads=1, progress_every_s=0.0,
    )  # fmt: skip


def train_here(asked: Job) -> list[Event]:
    """Train in this process: faster than a worker, and the same code."""
    from tasks.kinds.segmentation.train import train

    events: list[Event] = []
    train(asked, lambda event, **content: events.append({"event": event, **content}))
    return events


def of(events: Iterable[Event], name: str) -> list[Event]:
    """The events of that name."""
    return [event for event in events if event["event"] == name]
