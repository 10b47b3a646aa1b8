"""The training of a detector: ultralytics' trainer, made resumable, in the worker's process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError
from tasks.kind import Job
from tasks.kinds.detection import denoised
from tasks.kinds.detection.anchored import plan as anchored
from tasks.kinds.detection.backbone import is_backbone
from tasks.kinds.detection.dataset_view import class_names, longest_side_px
from tasks.kinds.detection.ensembles import is_ensemble
from tasks.kinds.detection.job import DetectorJob
from tasks.kinds.detection.recipe import DetectionRecipe, find_architecture
from tasks.stack.devices import CPU
from tasks.training.ultralytics_knobs import apart
from tasks.training.ultralytics_precision import precision
from tasks.training.ultralytics_stages import Stage, spelt_out, stages_of

EPOCH_SCORE = "metrics/mAP50(B)"
"""AP50 on the validation split, as ultralytics reports it after an epoch."""


def options(recipe: DetectionRecipe, data: Path) -> dict[str, Any]:
    """What the worker needs beside the job: see `DetectorJob`.

    Raises:
        ConfigError: The architecture is not there any more, or the recipe names a class that the dataset has not.
    """
    architecture: Any = recipe.model if recipe.anchored else find_architecture(recipe.model) if recipe.model else None
    if recipe.model and architecture is None:
        raise ConfigError(
            f"recipe {recipe.name!r}: there is no architecture {recipe.model!r} any more",
            expected="one that is shipped",
            fix="a path was taken once; put the file's layers into tasks/kinds/detection/architectures and name it",
        )
    if not recipe.anchored:
        _refuse_unknown_classes(recipe, data)
    return {
        "model": str(architecture) if architecture else None,
        "arguments": recipe.arguments_for(longest_side_px(data)),
        "min_steps": recipe.min_steps,
        "predict": recipe.predict.model_dump(),
    }


def _refuse_unknown_classes(recipe: DetectionRecipe, data: Path) -> None:
    plans = [apart(stage)[1] for stage in spelt_out(recipe.arguments)]
    if not any(plan.unknown_classes(()) for plan in plans):  # none is named
        return
    names = class_names(data)
    if faults := dict.fromkeys(fault for plan in plans for fault in plan.unknown_classes(names)):
        raise ConfigError(
            f"recipe {recipe.name!r}: {'; '.join(faults)}",
            expected=f"classes of the dataset: {', '.join(names)}",
            fix="name classes as the line does",
        )


def train(job: Job, report: Callable[..., None], *, rank: int = 0) -> None:
    """Train (or go on), then review what came out and hand it over; only the first of several processes does that."""
    from tasks.training import ultralytics_offline as offline

    own = DetectorJob.of(job)
    denoised.check_job(own)
    if own.model == anchored.MODEL:
        from tasks.kinds.detection.anchored import train as with_anchors

        return with_anchors.train(own, report)
    offline.prepare(own.config_dir, own.threads)
    import torch

    together = int(os.environ["WORLD_SIZE"]) if "LOCAL_RANK" in os.environ else 1
    gpus = f"cuda:{','.join(map(str, range(together)))}"
    _train(own, gpus if together > 1 or torch.cuda.is_available() else CPU, report, rank)


def _train(job: DetectorJob, device: str, report: Callable[..., None], rank: int) -> None:
    from tasks.kinds.detection.members import train_members
    from tasks.kinds.detection.review import review

    began = time.monotonic()
    _refuse_several(job)
    if job.arguments.get("members", 1) > 1:
        weights, findings, files = train_members(job, device, report)
    else:
        data, run = run_to_the_end(job, device, report)
        if rank > 0:
            return
        device = device.partition(",")[0]
        weights = handed_over(job, data, run)
        findings, files = review(job, weights, data, run, device)
    report("finished", weights=weights, review=findings, files=files, seconds=round(time.monotonic() - began, 3))


def _refuse_several(job: DetectorJob) -> None:
    """Refuse to begin with several detectors in one file, or to learn from them: neither would be one of them."""
    named = {"weights": job.weights, "teacher": job.teacher}
    if wrong := [name for name, path in named.items() if path and is_ensemble(path)]:
        raise ConfigError(
            f"{', '.join(wrong)}: several detectors in one file (`members`)", expected="the weights of one detector",
            fix="name another, such as the student's own champion of before",
        )  # fmt: skip


def run_to_the_end(job: DetectorJob, device: str, report: Callable[..., None]) -> tuple[Path, Path]:
    """All epochs that are left of one detector's training.

    Returns:
        The dataset's index as it sees it, and ultralytics' folder of the run.
    """
    from tasks.kinds.detection.dataset_view import local_data
    from tasks.training.ultralytics_resume import unpack

    run = job.folder / "run"
    state = unpack(job.resume_from, run) if job.resume_from else None
    data = local_data(job)
    if state is None or not state["finished"]:  # else: killed between the last epoch and the review
        run_epochs(job, device, data, run, state, report)
    return data, run


def handed_over(job: DetectorJob, data: Path, run: Path) -> Path:
    """The weights of a finished run: of its best epoch, of its last one, or the mean of its last ones."""
    from tasks.kinds.detection.averaging import average_of_last
    from tasks.kinds.detection.dataset_view import training_images
    from tasks.kinds.detection.review import finished_weights

    mean = average_of_last(run, training_images(data), job.imgsz)
    return finished_weights(
        run, job.folder / "weights.pt", prefer_best=job.has_val, averaged=mean, denoiser=job.denoiser
    )


def run_epochs(
    job: DetectorJob, device: str, data: Path, run: Path, state: dict[str, Any] | None, report: Callable[..., None]
) -> None:
    """The training proper: its stages one after the other, from where it was killed on."""
    from tasks.kinds.detection.dataset_view import training_images

    first, before = (int(state["stage"]), None) if state else (0, None)
    if state and state["stage_over"]:  # killed before the next stage had its first checkpoint
        first, state, before = first + 1, None, state
    for stage in stages_of(job.arguments, job.min_steps, len(training_images(data)))[first:]:
        before = _run_stage(job, stage, device, data, run, state, before, report)
        state = None


def _run_stage(
    job: DetectorJob, stage: Stage, device: str, data: Path, run: Path, state: dict[str, Any] | None,
    before: dict[str, Any] | None, report: Callable[..., None],
) -> dict[str, Any]:  # fmt: skip
    """Train one stage to its end, and return what the next one begins with; nothing where there is none."""
    from tasks.kinds.detection.trainer import ResumableDetectionTraining
    from tasks.training.determinism import NOT_ASKED, listening
    from tasks.training.ultralytics_callbacks import TrainingCallbacks

    arguments, knobs = apart(ultralytics_arguments(job, stage, device, data, run, resuming=state is not None))
    if before is not None:
        (run / "weights" / "best.pt").unlink(missing_ok=True)  # the best epoch is looked for in the last stage alone
    trainer = ResumableDetectionTraining(
        arguments, has_val=job.has_val, state=state, knobs=knobs, stage=stage, before=before,
        backbone=job.weights if is_backbone(job.weights) else None, teacher=job.teacher, start_seed=job.start_seed,
    )  # fmt: skip
    trainer.recorded |= denoised.recorded(job)
    if os.environ.get("LOCAL_RANK", "0") == "0":
        callbacks = TrainingCallbacks(job, trainer, report)
        trainer.add_callback("on_train_start", lambda _: callbacks.start())
        trainer.add_callback("on_train_batch_end", lambda _: callbacks.batch())
        trainer.add_callback("on_fit_epoch_end", lambda _: callbacks.epoch())
    if not arguments.get("deterministic", True):
        report("nondeterministic", operation=NOT_ASKED)
    with listening(lambda operation: report("nondeterministic", operation=operation)):
        trainer.train()
    return {} if stage.last else trainer.carried()


def ultralytics_arguments(
    job: DetectorJob, stage: Stage, device: str, data: Path, run: Path, *, resuming: bool
) -> dict[str, Any]:
    """One stage of the job in ultralytics' words, and in ours (`ultralytics_knobs.py`).

    Raises:
        ConfigError: It asks for what this device does not have.
    """
    from tasks.kinds.detection.dataset_view import of_one_shape, training_images

    arguments = dict(stage.arguments)
    arguments["amp"] = precision(arguments.get("amp", "auto"), device)
    if arguments.get("rect") and not of_one_shape(training_images(data)):
        arguments["rect"] = False  # batches would have to be sorted by shape, and never shuffled
    own: dict[str, Any] = {
        "task": "detect",
        "mode": "train",
        "data": str(data),
        "model": str(job.weights or job.model),
        "device": device.removeprefix("cuda:"),
        "seed": job.seed,
        "save": True,
        "save_dir": str(run),
        "val": job.has_val and arguments.get("val", True),
        "iou": job.predict.iou,
        "max_det": job.predict.max_det,
    }
    if job.weights and job.model:
        own["model"] = str(job.model)
        if not is_backbone(job.weights):  # the trainer puts those in itself: they are no checkpoint of ultralytics'
            own["pretrained"] = str(job.weights)
    if resuming:
        own |= {"resume": str(run / "weights" / "last.pt"), "model": str(run / "weights" / "last.pt")}
    return arguments | own
