"""What a recipe, a line or a run may set of a classifier's training: which values, and between which bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.escaping import short_repr
from tasks.kinds.classification.plan import SYMMETRIES, TrainingPlan
from tasks.training.installed import INSTALLED
from tasks.training.values import (
    Check,
    between,
    checked_values,
    choice,
    number,
    one_device,
    one_of,
    starting_weights,
    switch,
    text,
    whole,
)

OURS = ("small-cnn", "improved-cnn")
MODELS = (
    *OURS, "resnet18", "resnet50", "tf_efficientnet_lite0", "tf_efficientnet_lite2", "convnext_tiny",
    "vit_tiny_patch16_224", "vit_small_patch16_224",
)  # fmt: skip
SHORT = {
    "efficientnet_lite0": "tf_efficientnet_lite0", "efficientnet_lite2": "tf_efficientnet_lite2",
    "vit_tiny": "vit_tiny_patch16_224", "vit_small": "vit_small_patch16_224",
}  # fmt: skip
"""What people call some of them."""
PATCH_PX = 16
"""Of the vision transformers: their images' side is a multiple of this."""
MOST_STAGES = 10
MOST_ENCODERS = 8
MOST_EPOCHS = 10_000


def _model(value: Any) -> str:
    return one_of(SHORT.get(value, value) if isinstance(value, str) else value, *MODELS)


def _trained(value: Any) -> str | int:
    if isinstance(value, str) and not value.isdecimal():
        return one_of(value, "head", "all")
    return whole(value, 1, 1000)


_STAGE: Mapping[str, Check] = {
    "train": _trained, **between(whole, 1, MOST_EPOCHS, "epochs"), **between(number, 0, 10, "lr"),
}  # fmt: skip


def _stages(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list | tuple) or len(value) > MOST_STAGES:
        raise ValueError(f"expected a list of {MOST_STAGES} stages at most, found {short_repr(value)}")
    stages = []
    for place, each in enumerate(value, start=1):
        if not isinstance(each, dict):
            raise ValueError(f"stage {place}: expected {{train, epochs, lr}}, found {short_repr(each)}")
        checked, faults = checked_values(each, _STAGE)
        faults += [f"{key}: is missing" for key in _STAGE if key not in each]
        if faults:
            raise ValueError(f"stage {place}: {'; '.join(faults)}")
        stages.append(checked)
    return stages


_MORE: Mapping[str, Check] = {
    "weights": lambda value: one_of(value, *INSTALLED),
    "contrast": lambda value: one_of(value, "as-is", "alike"),
}


def _more_encoders(value: Any) -> list[dict[str, Any]]:
    """Names of weights, or {weights, contrast}."""
    if not isinstance(value, list | tuple) or len(value) > MOST_ENCODERS:
        raise ValueError(f"expected a list of {MOST_ENCODERS} at most, found {short_repr(value)}")
    encoders = []
    for place, each in enumerate(value, start=1):
        asked = {"weights": each} if isinstance(each, str) else each
        if not isinstance(asked, dict) or "weights" not in asked:
            raise ValueError(f"number {place}: expected {{weights, contrast}}, found {short_repr(each)}")
        checked, faults = checked_values({"contrast": "as-is", **asked}, _MORE)
        if faults:
            raise ValueError(f"number {place}: {'; '.join(faults)}")
        encoders.append(checked)
    return encoders


ARGUMENTS: Mapping[str, Check] = {
    **between(whole, 1, MOST_EPOCHS, "epochs"),
    **between(whole, 0, MOST_EPOCHS, "freeze_epochs", "patience"),
    **between(whole, 0, 10_000_000, "min_steps"),
    **between(whole, 1, 1024, "batch"),
    **between(whole, 32, 1024, "imgsz"),
    **between(whole, 0, 64, "workers", "blocks"),
    **between(whole, 1, SYMMETRIES, "views"),
    **between(whole, 0, 4096, "pca"),
    **between(number, 0, 10, "lr", "head_lr"),
    **between(number, 0, 1000, "warmup_epochs", "clip_norm", "gamma"),
    **between(number, 1e-9, 1e9, "C"),
    **between(number, 0.1, 1, "layer_decay"),
    **between(number, 0, 0.9999, "ema"),
    **between(number, 0, 10, "focal_gamma", "mixup"),
    **between(number, 0, 180, "degrees"),
    **between(number, 0, 0.5, "hue", "translate"),
    **between(number, 0, 0.9, "scale", "dropout", "drop_path", "label_smoothing"),
    **between(number, 0, 10, "window"),
    **between(number, 0, 1, "lr_final", "momentum", "weight_decay", "blur", "erase"),
    **between(number, 0, 1, "brightness", "contrast", "saturation"),
    **dict.fromkeys(("flip", "deterministic", "cache", "last_layer", "average_views"), switch),
    **{key: choice(TrainingPlan, key) for key in
       ("fit", "head", "optimizer", "loss", "class_weights", "sampler", "monitor", "keep", "amp", "pooling",
        "calibration")},
    "model": _model,
    "stages": _stages,
    "more_encoders": _more_encoders,
}  # fmt: skip
"""The keys of `TrainingPlan`, each with what makes a good value of it."""

ALLOWED: Mapping[str, Check] = {
    **ARGUMENTS,
    "description": lambda value: text(value, 2000),
    "kind": lambda value: one_of(value, "classification"),
    "weights": starting_weights,
    "device": one_device("a classifier"),
    "tta": switch,
}
"""All that can be set."""

OWNED = {
    "name": "the recipe's name comes from its file",
    "seed": "the seed belongs to the line, beside the recipe's name",
    "classes": "the line's classes are the classes",
    "multi_label": "it belongs to the line, beside its classes",
    "pretrained": "say `weights:`",
}
"""What people may look for, and why it is not a recipe's."""
