"""The training of a segmenter, in the worker's process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tasks.errors import ConfigError, DataError
from tasks.kind import Job

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.kinds.segmentation.recipe import SegmentationRecipe
    from tasks.kinds.segmentation.training.setup import Setup
    from tasks.kinds.segmentation.training.trainer import SegmenterTraining

EPOCH_SCORE = "val/AP50_pooled"
"""On the validation split, after an epoch that is measured; of a finder alone there is none."""


def options(recipe: SegmentationRecipe, data: Path) -> dict[str, Any]:
    """What the worker needs beside the job: `plan`, a `TrainingPlan`.

    Raises:
        ConfigError: The recipe wants several devices.
        DataError: The training split has no cells.
    """
    from tasks.kinds.segmentation.dataset import CellDataset
    from tasks.kinds.segmentation.foreign import train_module

    if theirs := train_module(recipe.arguments.get("model")):
        theirs.usable()
    if recipe.device and "," in recipe.device:
        raise ConfigError(
            f"recipe {recipe.name!r}: device {recipe.device!r}",
            expected="one device: a segmenter is trained on one",
            fix="name one GPU, or leave `device` out: the next free one is taken",
        )
    dataset = CellDataset.read(data)
    images = [image for image in dataset.images if image.split == "train"]
    if not any(dataset.objects(data.parent, image) for image in images):
        raise DataError(
            "the training split has no cells",
            expected="one picture with one outlined cell at least",
            found=f"{len(images)} pictures without any",
            fix="label more pictures; the line's `minimums` say from how many on a night trains",
        )
    return {"plan": recipe.arguments}


def train(job: Job, report: Callable[..., None], *, rank: int = 0) -> None:
    """Train, or go on, then hand the model over."""
    from tasks.kinds.segmentation.foreign import train_module

    if theirs := train_module(job.options["plan"]["model"]):
        theirs.train(job, report)
        return
    from tasks.kinds.segmentation.training.handover import hand_over
    from tasks.kinds.segmentation.training.setup import prepare
    from tasks.training.tensors import harmless

    harmless()
    began = time.monotonic()
    setup = prepare(job)
    training = _begun(job, setup)
    debug = _run_epochs(job, setup, training, report)
    weights, review, files = hand_over(setup, training.chosen(), training.rows)
    report(
        "finished", weights=str(weights), review=review,
        files={name: str(path) for name, path in {**files, **debug}.items()},
        seconds=round(time.monotonic() - began, 3),
    )  # fmt: skip


def _begun(job: Job, setup: Setup) -> SegmenterTraining:
    """The training where it stands: at its beginning, or where its checkpoint left it."""
    import torch

    from tasks.kinds.segmentation.networks import build
    from tasks.kinds.segmentation.training.starting import start_from
    from tasks.kinds.segmentation.training.trainer import SegmenterTraining
    from tasks.lake.blobs import hash_file

    network = build(setup.spec)
    if job.weights:
        start_from(network, job.weights, hash_file(job.weights), setup.plan.encoder)
    # Written by this training of ours; its record in the lake is signed. Even so nothing in it can run.
    state = torch.load(job.resume_from, map_location="cpu", weights_only=True) if job.resume_from else None
    return SegmenterTraining(setup, network, state)


def _run_epochs(job: Job, setup: Setup, training: SegmenterTraining, report: Callable[..., None]) -> dict[str, Path]:
    """Train to the end; returns what `debug` leaves."""
    import torch

    from tasks.kinds.segmentation.training.monitor import Debug, memory
    from tasks.training.determinism import NOT_ASKED, listening
    from tasks.training.meter import refuse_broken
    from tasks.training.worker_reports import Checkpoints, Pace, hardware

    epochs, per_epoch = training.epochs, training.steps_per_epoch
    report(
        "started", device=setup.device, hardware=hardware(torch.device(setup.device)),
        parameters=sum(parameter.numel() for parameter in training.network.parameters()),
        train_images=len(training.crops), epochs=epochs, steps_per_epoch=per_epoch, first_epoch=training.epoch,
        imgsz=setup.plan.imgsz,
    )  # fmt: skip
    if not setup.plan.deterministic:
        report("nondeterministic", operation=NOT_ASKED)
    checkpoints = Checkpoints(job.folder, report)
    pace = Pace(report, job.progress_every_s, epochs=epochs, steps=epochs * per_epoch, first_step=training.steps)
    debug = Debug(setup, training)

    def after_step(step: int, parts: dict[str, float]) -> None:
        refuse_broken(report, training.epoch + 1, step, parts)
        pace.step(step, training.epoch + 1, {"loss": parts["loss"]})  # its parts are in each epoch's metrics
        debug.step(step, training.epoch + 1, parts)

    def tell(metrics: dict[str, float]) -> None:
        report(
            "epoch", epoch=training.epoch, epochs=epochs, step=training.steps, at_ms=round(time.time() * 1000),
            metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        )  # fmt: skip

    with listening(lambda operation: report("nondeterministic", operation=operation)):
        if setup.plan.preeval and training.epoch == 0 and not training.finished:
            tell({f"val/{name}": value for name, value in training.scores().items()})
        while not training.finished:
            metrics = training.run_epoch(after_step)
            tell({**metrics, **memory(setup.device)})
            if any(name.startswith("val/") for name in metrics):
                debug.picture()
            checkpoints.write(training.epoch, training.checkpoint, last=training.finished)
    return debug.files()
