"""Trainings of a tiny detector in this process: as the worker runs them, or set up and not run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.config import RecipeChoice
from tasks.kind import Job
from tasks.kinds.detection.backbone import is_backbone
from tasks.kinds.detection.job import DetectorJob
from tasks.kinds.detection.recipe import find_architecture, load_recipe
from tasks.kinds.detection.train import options, train, ultralytics_arguments
from tasks.training import ultralytics_offline as offline
from tasks.training.ultralytics_knobs import apart
from tasks.training.ultralytics_stages import stages_of
from tests.training.conftest import write_dataset

TINY = {
    "model": "p3-tiny.yaml", "imgsz": 64, "batch": 4, "nbs": 4, "epochs": 2, "min_steps": 0, "plots": False,
    "workers": 0,
}  # fmt: skip


def make_job(
    folder: Path, recipe: str = "detection-from-scratch", *, seed: int = 1, teacher: Path | None = None, **changes: Any
) -> Job:
    """A job as a step writes it, of a recipe with changes, on eight images of 64 px."""
    own = folder / "job"
    own.mkdir(parents=True)
    data = write_dataset(folder / "data", val=True)
    named = {"teacher": teacher.name} if teacher else {}
    made = load_recipe(RecipeChoice(name=recipe, **{**TINY, **changes, **named}))
    installed = made.installed_weights()
    return Job(
        kind="detection", run_key="a" * 64, folder=own, data=data, has_val=True, seed=seed, options=options(made, data),
        state_dir=folder, locks_dir=folder, parent_pid=os.getpid(), progress_every_s=0, threads=1,
        weights=installed and installed[0], teacher=teacher,
    )  # fmt: skip


def teacher_file(folder: Path, model: str = "p3-tiny.yaml", names: tuple[str, ...] = ("sperm", "impurity")) -> Path:
    """Weights of a detector that is sure of something everywhere, as a training leaves them."""
    offline.prepare(folder / "yolo", 1)
    import torch
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(7)
    network = DetectionModel(str(find_architecture(model)), nc=len(names), verbose=False)
    network.names = dict(enumerate(names))
    for branch in network.model[-1].cv3:
        branch[-1].bias.data += 9
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"model": network.half()}, folder / "teacher.pt")
    return folder / "teacher.pt"


def set_up(folder: Path, recipe: str = "detection-from-scratch", *, stage: int = 0, **changes: Any) -> Any:
    """The trainer of a stage, ready for its first step."""
    from tasks.kinds.detection.dataset_view import local_data
    from tasks.kinds.detection.trainer import ResumableDetectionTraining

    job = DetectorJob.of(make_job(folder, recipe, **changes))
    offline.prepare(job.config_dir, 1)
    part = stages_of(job.arguments, job.min_steps, 8)[stage]
    words = ultralytics_arguments(job, part, "cpu", local_data(job), job.folder / "run", resuming=False)
    arguments, knobs = apart(words)
    backbone = job.weights if is_backbone(job.weights) else None
    trainer = ResumableDetectionTraining(
        arguments, has_val=True, knobs=knobs, stage=part, backbone=backbone, teacher=job.teacher
    )
    trainer._setup_train()
    return trainer


def run(job: Job, kept: Path | None = None) -> list[dict[str, Any]]:
    """Train in this process.

    Args:
        job: What to do.
        kept: Where each checkpoint is copied to, by its epoch, before a later one follows.

    Returns:
        The events.
    """
    events: list[dict[str, Any]] = []

    def report(event: str, **content: Any) -> None:
        events.append({"event": event, **content})
        if event == "checkpoint" and kept is not None:
            kept.mkdir(exist_ok=True)
            shutil.copyfile(content["path"], kept / f"{content['epoch']}.ckpt")

    train(job, report)
    return events


def during_training(trainer: Any, event: str, look: Callable[[Any], Any]) -> list[Any]:
    """What `look` sees of a trainer at each of ultralytics' events, from the first to the last epoch."""
    seen: list[Any] = []
    trainer.add_callback(event, lambda each: seen.append(look(each)))
    trainer._do_train()
    return seen
