"""Exports of detectors, for tests: weights drawn at random, their export, and how far two models' boxes are apart."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tasks.kind.exports import Precision
from tasks.kinds.detection.detector import Boxes, Detector
from tasks.kinds.detection.export_process import ExportJob, make_export
from tasks.kinds.detection.export_tools import Format
from tasks.kinds.detection.recipe import PredictOptions
from tasks.training import ultralytics_offline as offline

CLASSES = ("sperm", "impurity")
EVERYTHING = PredictOptions(conf=0.0, iou=1.0, max_det=2000)
"""Every box of every cell, none suppressed: nothing depends on the order of equal scores."""

Files = dict[str, tuple[Path, str]]


def drawn(architecture: dict[str, Any], folder: Path) -> tuple[Path, str]:
    """Weights of an architecture, drawn so that it has opinions: untrained, all scores are the same up to rounding."""
    offline.prepare(folder / "yolo")
    import torch
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    model = DetectionModel(architecture, nc=2, verbose=False)
    model.names = dict(enumerate(CLASSES))
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None  # all that it saw: else deep networks that have learned nothing answer nothing
    with torch.no_grad():
        model.train()(torch.rand(8, 3, 64, 96))
    for branch in model.model[-1].cv3:
        branch[-1].weight.data.normal_(0, 0.3)
        branch[-1].bias.data.zero_()
    path = folder / "weights"
    torch.save({"model": model.half(), "train_args": {}, "epoch": -1}, path)
    return path, oid_of(path)


def exported(
    folder: Path, original: tuple[Path, str], fmt: Format, turn: int = 0, precision: Precision = "fp32"
) -> Files:
    place = folder / f"{fmt}-{precision}-{turn}"
    place.mkdir()
    images = []
    for index in range(4 if precision == "int8" else 0):
        picture = np.random.default_rng(index).integers(0, 255, (56, 96, 3), dtype=np.uint8)
        images.append(place / f"{index:064x}")  # a blob: no suffix
        images[-1].write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    job = ExportJob(
        folder=place, weights=original[0], format=fmt, precision=precision, imgsz=(64, 96), max_det=300,
        images=tuple(images), config_dir=folder / "yolo", parent_pid=os.getpid(),
    )  # fmt: skip
    said = make_export(job)
    assert (said["opset"] is not None) == (fmt == "onnx")
    return {name: (place / "files" / name, oid_of(place / "files" / name)) for name in said["files"]}


def oid_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load(files: Files | tuple[Path, str], folder: Path, options: PredictOptions) -> Detector:
    usual = {"classes": CLASSES, "imgsz": 96, "config_dir": folder / "yolo", "predict": options, "device": "cpu"}
    if isinstance(files, tuple):
        return Detector(files[0], oid=files[1], **usual)  # type: ignore[arg-type]
    return Detector(files, **usual)  # type: ignore[arg-type]


def farthest(mine: Boxes, theirs: Boxes) -> float:
    """How far the box is, in pixels or score, whose counterpart is farthest."""
    return max(float(np.abs(theirs - box).max(axis=1).min()) for box in mine)
