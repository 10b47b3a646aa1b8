"""The training of a classifier, in the worker's process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import ConfigError, DataError
from tasks.kind import Job
from tasks.kinds.classification.dataset import ImageDataset
from tasks.kinds.classification.recipe import ClassificationRecipe

if TYPE_CHECKING:
    from tasks.kinds.classification.frozen import FeatureTraining
    from tasks.kinds.classification.setup import Setup
    from tasks.kinds.classification.trainer import NetworkTraining

EPOCH_SCORE = "val/balanced_accuracy"
"""On the validation split, after an epoch; of a classical head there is none."""
LEAST_PICTURES = 2
"""Of a training split."""


def options(recipe: ClassificationRecipe, data: Path) -> dict[str, Any]:
    """What the worker needs beside the job: `plan`, a `TrainingPlan`, and `weights_name` as the recipe has it.

    Raises:
        ConfigError: The recipe wants several devices.
        DataError: The training split is too small.
    """
    if recipe.device and "," in recipe.device:
        raise ConfigError(
            f"recipe {recipe.name!r}: device {recipe.device!r}",
            expected="one device: a classifier is trained on one",
            fix="name one GPU, or leave `device` out: the next free one is taken",
        )
    count = sum(image.split == "train" for image in ImageDataset.read(data).images)
    if count < LEAST_PICTURES:
        raise DataError(
            "the training split is too small",
            expected=f"{LEAST_PICTURES} pictures: batch norm has nothing to average over one",
            found=str(count),
            fix="label more pictures; the line's `minimums` say from how many on a night trains",
        )
    return {"plan": recipe.arguments, "weights_name": recipe.weights}


def train(job: Job, report: Callable[..., None], *, rank: int = 0) -> None:
    """Train, or go on, then hand the model over."""
    from tasks.kinds.classification.handover import hand_over
    from tasks.kinds.classification.setup import prepare
    from tasks.training.tensors import harmless

    harmless()
    began = time.monotonic()
    setup = prepare(job)
    training = _begun(job, setup)
    _run_epochs(job, setup, training, report)
    weights, review, files = hand_over(job.folder, setup, training.chosen(), training.rows)
    report(
        "finished", weights=str(weights), review=review, files={name: str(path) for name, path in files.items()},
        seconds=round(time.monotonic() - began, 3),
    )  # fmt: skip


def _begun(job: Job, setup: Setup) -> NetworkTraining | FeatureTraining:
    """The training where it stands: at its beginning, or where its checkpoint left it."""
    import torch

    from tasks.kinds.classification.frozen import FeatureTraining
    from tasks.kinds.classification.loading import start_from
    from tasks.kinds.classification.networks import build_bare
    from tasks.kinds.classification.stages import refuse_batches_of_one
    from tasks.kinds.classification.trainer import NetworkTraining
    from tasks.lake.blobs import hash_file

    plan, classes = setup.plan, len(setup.dataset.classes)
    network = build_bare(plan.model, classes, plan.imgsz, plan.dropout, plan.drop_path)
    if job.weights:
        start_from(network, job.weights, hash_file(job.weights), plan.model, classes)
    # Written by this training of ours; its record in the lake is signed. Even so nothing in it can run.
    state = torch.load(job.resume_from, map_location="cpu", weights_only=True) if job.resume_from else None
    if plan.head != "network":
        return FeatureTraining(setup, network, state)
    if plan.batch == 1:
        refuse_batches_of_one(network, plan)
    return NetworkTraining(setup, network, state)


def _run_epochs(
    job: Job, setup: Setup, training: NetworkTraining | FeatureTraining, report: Callable[..., None]
) -> None:
    """Train to the end."""
    import torch

    from tasks.training.determinism import NOT_ASKED, listening
    from tasks.training.worker_reports import Checkpoints, Pace, hardware

    epochs, per_epoch = training.epochs, training.steps_per_epoch
    more = getattr(training, "more_encoders", [])
    report(
        "started", device=setup.device, hardware=hardware(torch.device(setup.device)),
        parameters=sum(parameter.numel() for parameter in training.network.parameters()),
        train_images=len(training.pictures), epochs=epochs, steps_per_epoch=per_epoch, first_epoch=training.epoch,
        imgsz=setup.plan.imgsz, **({"more_encoders": more} if more else {}),
    )  # fmt: skip
    if not setup.plan.deterministic:
        report("nondeterministic", operation=NOT_ASKED)
    checkpoints = Checkpoints(job.folder, report)
    pace = Pace(report, job.progress_every_s, epochs=epochs, steps=epochs * per_epoch, first_step=training.steps)

    def after_step(step: int, loss: float | None) -> None:
        pace.step(step, training.epoch + 1, {} if loss is None else {"loss": loss})

    with listening(lambda operation: report("nondeterministic", operation=operation)):
        while not training.finished:
            measured = training.run_epoch(after_step)
            metrics = {name: value for name, value in measured.items() if math.isfinite(value)}
            report(
                "epoch", epoch=training.epoch, epochs=epochs, step=training.steps, at_ms=round(time.time() * 1000),
                metrics=metrics,
            )  # fmt: skip
            checkpoints.write(training.epoch, training.checkpoint, last=training.finished)
