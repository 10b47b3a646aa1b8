"""The training of a YOLO-seg, in the worker's process: write tiles, run ultralytics' trainer, hand the network over."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tasks.kind import Job
from tasks.kinds.segmentation.dataset import CellDataset
from tasks.kinds.segmentation.train import EPOCH_SCORE
from tasks.kinds.segmentation.yolo.plan import MODEL, YoloPlan

MIN_SCORE = 0.25
"""Where there is no validation split to choose it on: ultralytics' own."""


def usable() -> None:
    """Refuse where it cannot be trained: never, ultralytics comes with us."""


def train(job: Job, report: Callable[..., None]) -> None:
    """Train, or go on, then hand the model over."""
    from tasks.training import ultralytics_offline

    ultralytics_offline.prepare(job.state_dir / "ultralytics", job.threads)
    from tasks.kinds.segmentation.yolo.dataset import write_dataset
    from tasks.training.ultralytics_resume import unpack

    began = time.monotonic()
    plan, dataset = YoloPlan.model_validate(job.options["plan"]), CellDataset.read(job.data)
    run = job.folder / "run"
    data = write_dataset(job.data, job.folder / "tiles", plan.input_plan(dataset.channels))
    state = unpack(job.resume_from, run) if job.resume_from else None
    if state is None or not state["finished"]:  # else: killed between the last epoch and the end
        run_epochs(job, plan, data, run, state, report)
    weights, scores = hand_over(job, run, plan, dataset)
    review, files = reviewed(run, has_val=job.has_val)
    review |= scores
    report(
        "finished", weights=str(weights), review=review, files=files, seconds=round(time.monotonic() - began, 3)
    )  # fmt: skip


def run_epochs(
    job: Job, plan: YoloPlan, data: Path, run: Path, state: dict[str, Any] | None, report: Callable[..., None]
) -> None:
    """The training proper."""
    import torch

    from tasks.kinds.segmentation.yolo.trainer import ResumableSegmentationTraining
    from tasks.training.determinism import NOT_ASKED, listening
    from tasks.training.ultralytics_callbacks import TrainingCallbacks

    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    arguments = ultralytics_arguments(job, plan, device, data, run, resuming=state is not None)
    trainer = ResumableSegmentationTraining(arguments, has_val=job.has_val, state=state)
    trainer.start = job.weights
    callbacks = TrainingCallbacks(job, trainer, report, pooled_ap)
    trainer.add_callback("on_train_start", lambda _: callbacks.start())
    trainer.add_callback("on_train_batch_end", lambda _: callbacks.batch())
    trainer.add_callback("on_fit_epoch_end", lambda _: callbacks.epoch())
    if not arguments.get("deterministic", True):
        report("nondeterministic", operation=NOT_ASKED)
    with listening(lambda operation: report("nondeterministic", operation=operation)):
        trainer.train()


def pooled_ap(metrics: Mapping[str, float]) -> dict[str, float]:
    """An epoch's `EPOCH_SCORE`, from ultralytics' precision P and recall R of masks at IoU 0.5; empty: it has none.

    TP / (TP + FP + FN) = P R / (P + R - P R). Ultralytics' P and R are those at the score of the highest F1, which is
    also that of the highest such ratio. They are of tiles, a class at a time, and averaged over classes: what the whole
    pictures of the split come to is measured at the end.
    """
    precision, recall = (metrics.get(f"metrics/{name}(M)") for name in ("precision", "recall"))
    if precision is None or recall is None:
        return {}
    both = precision + recall - precision * recall
    return {EPOCH_SCORE: precision * recall / both if both > 0 else 0.0}


def ultralytics_arguments(
    job: Job, plan: YoloPlan, device: str, data: Path, run: Path, *, resuming: bool
) -> dict[str, Any]:
    """The job in ultralytics' words."""
    from tasks.training.ultralytics_arguments import schedule

    arguments = dict(plan.ultralytics)
    if device == "cpu":
        arguments["amp"] = False
    elif arguments.get("amp", "auto") == "auto":
        arguments["amp"] = "bf16"  # True would download a model to compare with
    tiles = sum(1 for _ in (data.parent / "images" / "train").glob("*.png"))
    length = schedule(arguments, plan.min_steps, tiles)
    model = str(run / "weights" / "last.pt") if resuming else plan.architecture
    return arguments | {
        "task": "segment", "mode": "train", "data": str(data), "model": model, "resume": model if resuming else False,
        "pretrained": False, "imgsz": plan.imgsz, "device": device.removeprefix("cuda:"), "seed": job.seed,
        "epochs": length.epochs, "patience": length.patience, "save": True, "save_dir": str(run), "val": job.has_val,
        "iou": plan.iou, "max_det": plan.max_det,
    }  # fmt: skip


def hand_over(job: Job, run: Path, plan: YoloPlan, dataset: CellDataset) -> tuple[Path, dict[str, float]]:
    """Write the best epoch's network, or without a validation split the last one's, as our networks are written.

    Args:
        job: Of the training.
        run: Ultralytics' folder of it.
        plan: Of the training.
        dataset: What was learned from.

    Returns:
        The file of weights, and scores on the validation split, whole pictures, at the threshold that is best there.
    """
    from tasks.kinds.segmentation import networks
    from tasks.kinds.segmentation.networks.yolo_seg import YoloSeg
    from tasks.kinds.segmentation.training.measure import masks_tally
    from tasks.kinds.segmentation.yolo.trainer import starting_tensors

    best, last = run / "weights" / "best.pt", run / "weights" / "last.pt"
    network, spec = YoloSeg(plan.architecture, len(dataset.classes), plan.iou, plan.max_det), spec_of(plan, dataset)
    network.yolo.load_state_dict(starting_tensors(best if job.has_val and best.exists() else last))
    scores: dict[str, float] = {}
    if job.has_val:
        root, images = job.data.parent, [image for image in dataset.images if image.split == "val"]
        pictures = ((dataset.picture(root, image), dataset.objects(root, image)) for image in images)
        spec["min_score"], found = masks_tally(network.eval(), spec, pictures).best()
        scores = {f"val/{name}": value for name, value in found.items()} | {"val/min_score": spec["min_score"]}
    target = job.folder / "weights.pt"
    networks.write(target, network, spec)
    return target, scores


def spec_of(plan: YoloPlan, dataset: CellDataset) -> dict[str, Any]:
    """What the file of weights says of the network; see `networks`."""
    return {
        "model": MODEL, "architecture": plan.architecture, "classes": list(dataset.classes), "iou": plan.iou,
        "max_det": plan.max_det, "min_score": MIN_SCORE,
        "input": plan.input_plan(dataset.channels).model_dump(mode="json"),
    }  # fmt: skip


def reviewed(run: Path, *, has_val: bool) -> tuple[dict[str, float], dict[str, str]]:
    """Ultralytics' scores of the epoch that was taken, `val/...`, and files to keep by the name that MLflow shows."""
    table = run / "results.csv"
    files = {f"training/{path.name}": str(path) for path in sorted(run.glob("train_batch*.jpg"))[:3]}
    if not table.is_file():
        return {}, files
    files["training/epochs.csv"] = str(table)
    with table.open(newline="") as file:
        rows = [{key.strip(): float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    if not has_val or not rows:
        return {}, files
    best = max(rows, key=lambda row: row.get("metrics/mAP50(M)", 0) * 0.1 + row.get("metrics/mAP50-95(M)", 0) * 0.9)
    named = {"val/mask_AP50": "metrics/mAP50(M)", "val/mask_AP50_95": "metrics/mAP50-95(M)"}
    return {name: best[key] for name, key in named.items() if math.isfinite(best.get(key, math.nan))}, files
