"""What a recipe, a line or a run may set of a segmenter's training: which values, and between which bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.escaping import short_repr
from tasks.kinds.segmentation.plan import SIDE_MULTIPLE, Stage1Plan, Stage2Plan, TrainingPlan
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

MOST_EPOCHS = 10_000
ENCODERS = {"efficientnet_lite0": "tf_efficientnet_lite0", "efficientnet-lite0": "tf_efficientnet_lite0"}
"""What people call some of them."""


def _encoder(value: Any) -> str:
    found = ENCODERS.get(value, value) if isinstance(value, str) else value
    return choice(TrainingPlan, "encoder")(found)  # type: ignore[no-any-return]


def tile_side(value: Any, most: int = 2048) -> int:
    """The side of a tile, in pixels.

    Raises:
        ValueError: It is none that networks take.
    """
    found = whole(value, SIDE_MULTIPLE, most)
    if found % SIDE_MULTIPLE:
        raise ValueError(f"expected a multiple of {SIDE_MULTIPLE}, found {short_repr(value)}")
    return found


def two_percentiles(value: Any) -> tuple[float, float]:
    """What becomes 0 and what becomes 1.

    Raises:
        ValueError: It is no such pair.
    """
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"expected two percentiles, such as [1, 99], found {short_repr(value)}")
    low, high = (float(number(each, 0, 100)) for each in value)
    if low >= high:
        raise ValueError(f"expected the low percentile below the high one, found {short_repr(value)}")
    return low, high


def _nested(checks: Mapping[str, Check]) -> Check:
    """Checks a dict of values, all faults at once."""

    def check(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"expected values by name, found {short_repr(value)}")
        checked, faults = checked_values(value, checks)
        if faults:
            raise ValueError("; ".join(faults))
        return checked

    return check


STAGE1: Mapping[str, Check] = {
    "type": choice(Stage1Plan, "type"),
    **between(whole, 0, MOST_EPOCHS, "total_epochs", "patience"),
    **between(number, 0, 10, "learning_rate"),
    **between(number, 0, 1000, "ce_weight", "l1_weight", "giou_weight", "dense_weight"),
}
STAGE2: Mapping[str, Check] = {
    **between(whole, 0, MOST_EPOCHS, "total_epochs", "patience"),
    **between(number, 0, 10, "learning_rate", "focal_gamma"),
    **between(number, 0, 1000, "focal_weight", "dice_weight", "boundary_weight"),
    "hard_mining": choice(Stage2Plan, "hard_mining"),
    **between(number, 0.01, 1, "hard_share"),
    **between(number, 0, 1, "true_share", "predicted_share"),
    **between(number, 0, 0.5, "jitter"),
    **between(whole, 1, 4096, "most_boxes"),
}
AUGMENTATION: Mapping[str, Check] = {
    **dict.fromkeys(("on", "flip", "turn"), switch),
    **between(number, 0, 180, "degrees"),
    **between(number, 0, 2, "scale"),
    **between(number, 0, 1, "brightness", "contrast", "gamma", "blur", "noise", "stain", "invert"),
}
NESTED = {"stage1": STAGE1, "stage2": STAGE2, "augmentation": AUGMENTATION}
"""Values of values: `stage1: {learning_rate: 0.001}` in a file, `stage1_learning_rate` in a search or a command."""
STAR_NESTED = {
    "stage1": {key: check for key, check in STAGE1.items() if key not in ("giou_weight", "dense_weight")},
    "augmentation": AUGMENTATION,
}
"""The same of a star-convex model: it has one stage, whose loss has two parts."""
ALIASES = {"focal_gamma": "stage2_focal_gamma"}

ARGUMENTS: Mapping[str, Check] = {
    "model": choice(TrainingPlan, "model"),
    "encoder": _encoder,
    "imgsz": tile_side,
    "percentiles": two_percentiles,
    **{key: _nested(checks) for key, checks in NESTED.items()},
    **{key: choice(TrainingPlan, key) for key in ("normalise", "stain_transform", "keep", "amp")},
    **between(whole, 8, 1024, "width"),
    **between(whole, 1, 1024, "batch_size", "crops_per_picture", "val_every"),
    **between(whole, 0, 10_000_000, "min_steps"),
    **between(whole, 0, 100_000, "warmup_steps"),
    **between(number, 0.01, 16, "scale"),
    **between(number, 0.05, 20, "gamma"),
    **between(number, 0, 1, "weight_decay", "encoder_lr", "lr_final"),
    **between(number, 0, 1000, "clip_norm"),
    **between(number, 0, 0.9999, "ema"),
    **dict.fromkeys(("deterministic", "cache", "preeval", "debug"), switch),
}
"""The keys of `TrainingPlan`, each with what makes a good value of it."""

ALLOWED: Mapping[str, Check] = {
    **ARGUMENTS,
    "description": lambda value: text(value, 2000),
    "kind": lambda value: one_of(value, "segmentation"),
    "weights": starting_weights,
    "device": one_device("a segmenter"),
    **between(number, 0, 1, "min_score"),
}
"""All that can be set."""

OWNED = {
    "name": "the recipe's name comes from its file",
    "seed": "the seed belongs to the line, beside the recipe's name",
    "classes": "the line's classes are the classes",
    "channels": "it belongs to the line, beside its classes",
    "pretrained": "say `weights:`",
    "epochs": "say `stage1: {total_epochs: ...}` or `stage2: {total_epochs: ...}`",
    "batch": "say `batch_size:`",
    "lr": "say `stage1: {learning_rate: ...}` or `stage2: {learning_rate: ...}`",
}
"""What people may look for, and why it is not a recipe's."""


def spelt_out(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as the checks take them: `stage1_learning_rate` stands in `stage1`, `augmentation: false` is a switch."""
    found: dict[str, Any] = {}
    for given, value in values.items():
        key = ALIASES.get(given, given)
        within = next((each for each in NESTED if isinstance(key, str) and key.startswith(f"{each}_")), None)
        if within and isinstance(found.get(within, {}), dict):
            found[within] = {**found.get(within, {}), key.removeprefix(f"{within}_"): value}
        elif key == "augmentation" and isinstance(value, bool):
            found[key] = {**found.get(key, {}), "on": value}
        elif key in NESTED and isinstance(value, dict):
            found[key] = {**value, **found.get(key, {})}
        else:
            found[key] = value
    return found


def merged(before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Values with changes over them; of nested ones each key by itself."""
    both = {**before, **changes}
    for key in NESTED:
        own, new = before.get(key), changes.get(key)
        if isinstance(own, dict) and isinstance(new, dict):
            both[key] = {**own, **new}
    return both
