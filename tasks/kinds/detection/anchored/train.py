"""The training of a detector with anchors, in the worker's process."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tasks.kinds.detection import denoised
from tasks.kinds.detection.anchored.plan import AnchoredPlan
from tasks.kinds.detection.job import DetectorJob

if TYPE_CHECKING:
    from tasks.kinds.detection.anchored.trainer import AnchoredTraining

_CUBLAS = ":4096:8"
"""A workspace with which matrix products on CUDA repeat to the bit."""


def train(job: DetectorJob, report: Callable[..., None]) -> None:
    """Train, or go on, then hand the model over."""
    from tasks.kinds.detection.anchored import retinanet
    from tasks.kinds.detection.anchored.measure import average_precisions
    from tasks.training.tensors import harmless

    harmless()
    began = time.monotonic()
    training = _begun(job)
    _run_epochs(job, training, report)
    network = training.chosen()
    path = job.folder / "weights.safetensors"
    retinanet.write(path, network, training.spec, denoised.carrying(job.denoiser))
    looked_at, prefix = (training.val, "val") if training.val else (training.train, "train_sample")
    found = average_precisions(network, looked_at, training.spec["imgsz"], training.device)
    review = {f"{prefix}/{name}": value for name, value in found.items()}
    report("finished", weights=str(path), review=review, files={}, seconds=round(time.monotonic() - began, 3))


def _begun(job: DetectorJob) -> AnchoredTraining:
    """The training where it stands: at its beginning, or where its checkpoint left it."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", _CUBLAS)  # read when CUDA begins
    import torch

    from tasks.kinds.detection.anchored.dataset import Split
    from tasks.kinds.detection.anchored.trainer import AnchoredTraining
    from tasks.lake.blobs import hash_file

    torch.set_num_threads(job.threads or int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))))
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    plan = AnchoredPlan(**{key: value for key, value in job.arguments.items() if key in AnchoredPlan.model_fields})
    # Written by this training of ours; its record in the lake is signed. Even so nothing in it can run.
    state = torch.load(job.resume_from, map_location="cpu", weights_only=True) if job.resume_from else None
    return AnchoredTraining(
        plan, Split(job.data_yaml, "train"), Split(job.data_yaml, "val") if job.has_val else None,
        imgsz=plan.imgsz, min_steps=job.min_steps, seed=job.seed,
        device="cuda:0" if torch.cuda.is_available() else "cpu",
        weights=(job.weights, hash_file(job.weights)) if job.weights else None, state=state,
    )  # fmt: skip


def _show(job: DetectorJob, training: AnchoredTraining, report: Callable[..., None]) -> None:
    """After the first epoch: the contact sheet of what the network saw."""
    from tasks.training.contact_sheet import contact_sheet, file_name

    if training.seen:
        path = job.folder / file_name(1, 1)
        path.write_bytes(contact_sheet(training.seen, training.train.classes))
        training.seen = []
        report("picture", name=f"training/{path.name}", path=path)


def _run_epochs(job: DetectorJob, training: AnchoredTraining, report: Callable[..., None]) -> None:
    """Train to the end."""
    import torch

    from tasks.training.determinism import listening
    from tasks.training.worker_reports import Checkpoints, Pace, hardware

    epochs, per_epoch = training.epochs, training.steps_per_epoch
    report(
        "started", device=training.device, hardware=hardware(torch.device(training.device)),
        parameters=sum(parameter.numel() for parameter in training.network.parameters()),
        train_images=len(training.train), epochs=epochs, steps_per_epoch=per_epoch, first_epoch=training.epoch,
        imgsz=training.spec["imgsz"], anchors=training.spec["anchors"], **denoised.recorded(job),
    )  # fmt: skip
    checkpoints = Checkpoints(job.folder, report)
    first = training.epoch * per_epoch
    pace = Pace(report, job.progress_every_s, epochs=epochs, steps=epochs * per_epoch, first_step=first)

    def after_step(step: int, losses: dict[str, float]) -> None:
        pace.step(step, training.epoch + 1, losses)

    with listening(lambda operation: report("nondeterministic", operation=operation)):
        while not training.finished:
            measured: dict[str, Any] = training.run_epoch(after_step)
            report(
                "epoch", epoch=training.epoch, epochs=epochs, step=training.epoch * per_epoch,
                at_ms=round(time.time() * 1000),
                metrics={name: value for name, value in measured.items() if math.isfinite(value)},
            )  # fmt: skip
            _show(job, training, report)
            checkpoints.write(training.epoch, training.checkpoint, last=training.finished)
