"""What a finished training leaves behind: the weights, curves, a confusion matrix, predictions beside labels.

Used by the worker only. Works from the files of a run, so that a worker killed during the review can do it again.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from tasks.kinds.detection.denoised import carrying
from tasks.kinds.detection.job import DetectorJob
from tasks.kinds.detection.predictor import SCORES_FROM
from tasks.lake.blobs import hash_file
from tasks.training.ultralytics_stages import spelt_out

KEPT_ARGUMENTS = ("task", "imgsz", "rect", "amp", "batch", "overlap_mask", "nms")


def finished_weights(
    run: Path, target: Path, *, prefer_best: bool, averaged: Path | None = None, denoiser: Path | None = None
) -> Path:
    """The weights to hand over, without optimizer, dates, paths: the same training gives the same bytes.

    Args:
        run: Ultralytics' folder of the run.
        target: Where to write them.
        prefer_best: Take the epoch that did best on the validation split; else the last.
        averaged: Take these, as ultralytics writes a checkpoint, in the place of either.
        denoiser: That the weights are to carry.
    """
    import torch
    from ultralytics.utils.torch_utils import strip_optimizer

    from tasks.training.ultralytics_loading import load_checkpoint

    best, last = run / "weights" / "best.pt", run / "weights" / "last.pt"
    chosen = averaged or (best if prefer_best and best.exists() else last)
    load_checkpoint(chosen)  # says what is wrong with it, where `strip_optimizer` would write nothing, silently
    strip_optimizer(chosen, s=str(target))
    content = load_checkpoint(target)
    model = content["model"]
    model.args = {key: value for key, value in dict(model.args).items() if key in KEPT_ARGUMENTS}
    model.pt_path = None
    model.__dict__.pop("class_weights", None)  # of the loss, which is over
    if "yaml_file" in model.yaml:  # else two installations in two folders would make two files of one training
        model.yaml = {**model.yaml, "yaml_file": Path(model.yaml["yaml_file"]).name}
    model.__dict__ = dict(sorted(model.__dict__.items()))  # a resumed one got its attributes in another order
    held = {"model": model, "train_args": model.args, "version": content.get("version"), "epoch": -1}
    torch.save(held | carrying(denoiser), target)
    return target


def review(
    job: DetectorJob, weights: Path, data: Path, run: Path, device: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """Look at the finished model on the validation split, or on some training images where there is none.

    Returns:
        Metrics, prefixed `val/` or, where they say nothing about new images, `train_sample/`; and the files to keep,
        name -> path.
    """
    from ultralytics import YOLO

    last = spelt_out(job.arguments)[-1]
    plots = bool(last.get("plots", True))
    look = job.folder / "review"
    model = YOLO(str(weights), task="detect")
    results = model.val(
        data=str(data),
        split="val",
        imgsz=job.imgsz,
        batch=8,
        iou=job.predict.iou,
        max_det=job.predict.max_det,
        device=device.removeprefix("cuda:"),
        workers=0,
        plots=plots,
        project=str(look.parent),
        name=look.name,
        exist_ok=True,
        verbose=False,
    )
    _wait_for_plots()
    prefix = "val" if job.has_val else "train_sample"
    findings = {f"{prefix}/{_plain(key)}": float(value) for key, value in results.results_dict.items()}
    for index, class_index in enumerate(results.box.ap_class_index):
        findings[f"{prefix}/AP50/{model.names[int(class_index)]}"] = float(results.box.ap50[index])
    _place_beside(look)
    return findings, _kept_files(run, look, job)


def review_together(job: DetectorJob, weights: Path, data: Path, device: str) -> dict[str, float]:
    """What several detectors find together, by pycocotools; of the same images as `review`, under the same names."""
    from tasks.kinds.detection.anchored.dataset import Split
    from tasks.kinds.detection.anchored.measure import average_precisions_of
    from tasks.kinds.detection.ensemble_detector import EnsembleDetector

    split = Split(data, "val")
    detector = EnsembleDetector(
        weights, oid=hash_file(weights), classes=split.classes, imgsz=job.imgsz,
        predict=job.predict, device=device, config_dir=job.config_dir,
    )  # fmt: skip
    detector.denoiser = None  # the layout's pictures have gone through it
    found = average_precisions_of(lambda image: detector.predict([image], conf=SCORES_FROM)[0], split)
    return {f"{'val' if job.has_val else 'train_sample'}/{name}": value for name, value in found.items()}


def _plain(key: str) -> str:
    return key.removeprefix("metrics/").removesuffix("(B)").replace("mAP50-95", "AP50_95").replace("mAP50", "AP50")


def _wait_for_plots() -> None:
    """Ultralytics draws in threads; others of this process are none of our business."""
    for thread in threading.enumerate():
        drawing = getattr(thread, "_target", None)
        if getattr(drawing, "__module__", "").startswith("ultralytics"):
            thread.join(timeout=60)


def _place_beside(look: Path) -> None:
    """Join ultralytics' pictures of labels and of predictions: left what is labelled, right what is predicted."""
    import cv2
    import numpy as np

    for labels in sorted(look.glob("val_batch*_labels.jpg")):
        predicted = labels.with_name(labels.name.replace("_labels", "_pred"))
        left, right = cv2.imread(str(labels)), cv2.imread(str(predicted))
        if left is None or right is None or left.shape != right.shape:
            continue
        gap = np.full((left.shape[0], 12, 3), 255, np.uint8)
        cv2.imwrite(
            str(look / labels.name.replace("_labels", "").replace("val_batch", "samples_")),
            cv2.hconcat([left, gap, right]),
        )


def _kept_files(run: Path, look: Path, job: DetectorJob) -> dict[str, str]:
    where = "val" if job.has_val else "train_sample"
    files = {f"{where}/labels_beside_predictions_{i}.jpg": p for i, p in enumerate(sorted(look.glob("samples_*.jpg")))}
    files |= {f"{where}/{path.name}": path for path in sorted(look.glob("*.png"))}
    files |= {f"training/{path.name}": path for path in sorted(run.glob("train_batch*.jpg"))[:3]}
    files |= {f"training/{path.name}": path for path in (run / "labels.jpg", run / "results.csv")}
    if job.has_val:  # else half of its curves are of a validation that did not happen
        files["training/results.png"] = run / "results.png"
    return {name: str(path) for name, path in files.items() if path.is_file()}
