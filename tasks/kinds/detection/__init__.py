"""Detection: boxes around things, found by a YOLO detector, or by one with anchors. An object is a `boxes.Box`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # mypy holds every part against the protocol
    from tasks import kind
    from tasks.kinds.detection import (
        answers,
        checks,
        comparison,
        drawing,
        exploration,
        exports,
        files,
        labels,
        layout,
        metrics,
        predictor,
        recipe,
        served,
        train,
    )

    _PARTS: tuple[
        kind.Labels, kind.Files, kind.Checks, kind.Layout, kind.Recipes, kind.Training, kind.Predictors,
        kind.ServedModel, kind.Metrics, kind.Drawing, kind.Exports, kind.Comparison,
        kind.Answers, kind.Exploration,
    ] = (
        labels, files, checks, layout, recipe, train, predictor, served, metrics, drawing, exports, comparison,
        answers, exploration,
    )  # fmt: skip

USE = "finds, marks and counts {classes} in single frames"
LIBRARIES = {
    "training": ("ultralytics", "torch", "torchvision", "timm", "safetensors", "albumentations"),
    "export": (
        "ultralytics",
        "torch",
        "onnx",
        "onnxruntime",
        "onnxslim",
        "openvino",
        "nncf",
        "ncnn",
        "pnnx",
        "paddlepaddle",
        "x2paddle",
    ),
}
