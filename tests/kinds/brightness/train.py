"""Bisection: each epoch halves the interval of greys that the threshold lies in."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nightscope_kinds.brightness.recipe import BrightnessRecipe

from tasks.kind import Job


def options(recipe: BrightnessRecipe, data: Path) -> dict[str, Any]:
    """How many epochs."""
    return {"epochs": recipe.epochs}


def train(job: Job, report: Callable[..., None], *, rank: int = 0) -> None:
    """Find the grey that parts the classes; the second class is the brighter one."""
    from nightscope_kinds.brightness.predictor import mean_grey, read_image

    began = time.monotonic()
    data = json.loads(job.data.read_text())
    dark = data["classes"][0]
    frames = [each for each in data["frames"] if each["split"] == "train"]
    greys = [(mean_grey(read_image(Path(each["path"]))), each["label"] != dark) for each in frames]
    state = json.loads(job.resume_from.read_text()) if job.resume_from else {"epoch": 0, "low": 0.0, "high": 255.0}
    epochs = int(job.options["epochs"])
    report(
        "started", device="cpu", hardware={}, parameters=1, train_images=len(frames), epochs=epochs,
        steps_per_epoch=1, first_epoch=state["epoch"],
    )  # fmt: skip
    for epoch in range(state["epoch"] + 1, epochs + 1):
        middle = (state["low"] + state["high"]) / 2
        below = sum(bright for grey, bright in greys if grey < middle)
        above = sum(not bright for grey, bright in greys if grey >= middle)
        state = {"epoch": epoch, "low": middle, "high": state["high"]} if above > below or all(
            grey >= middle for grey, _ in greys
        ) else {"epoch": epoch, "low": state["low"], "high": middle}  # fmt: skip
        if not above and not below:
            state |= {"low": middle, "high": middle}
        report(
            "epoch", epoch=epoch, step=epoch, at_ms=round(time.time() * 1000),
            metrics={"train/wrong": float(above + below)},
        )  # fmt: skip
        path = job.folder / f"{epoch}.ckpt"
        path.write_text(json.dumps(state))
        report("checkpoint", epoch=epoch, path=str(path), last=epoch == epochs)
    weights = job.folder / "weights.json"
    weights.write_text(json.dumps({"threshold": (state["low"] + state["high"]) / 2, "classes": data["classes"]}))
    report("finished", weights=str(weights), review={}, files={}, seconds=round(time.monotonic() - began, 3))
