"""What a recipe, a line or a run may say to ultralytics: which arguments, of which type, between which bounds.

A list of what is allowed, not of what is not: an argument that a newer ultralytics brings is refused until somebody
has looked at it. Paths, URLs, names of files and switches that have no part in training a detector are not on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tasks.escaping import short_repr
from tasks.training.values import between, number, one_of, switch, whole

OPTIMIZERS = ("auto", "SGD", "MuSGD", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSProp")
PRECISIONS = ("auto", "bf16", "fp16", "fp32")
COMPILERS = ("default", "reduce-overhead", "max-autotune-no-cudagraphs")
FROZEN_PARTS = ("backbone", "all-but-head")
"""What `freeze` may say in words: the layers of the architecture's `backbone`, or all but its last layer."""
_LAYER = re.compile(r"[0-9A-Za-z_]+(\.[0-9A-Za-z_]+){0,15}")
MOST_LAYERS = 500


def _batch(value: Any) -> int | float:
    try:
        found = number(value, -1, 1024)
    except ValueError:
        found = -2
    if found == -1 or 0 < found < 1 or (found >= 1 and found == int(found)):
        return found if 0 < found < 1 else int(found)
    raise ValueError(
        f"expected a number of frames from 1 to 1024, -1 or a share of the memory, found {short_repr(value)}"
    )


def _cache(value: Any) -> bool | str:
    return value if isinstance(value, bool) else one_of(value, "ram", "disk")


def _amp(value: Any) -> bool | str:
    return value if isinstance(value, bool) else one_of(value, *PRECISIONS)


def _compile(value: Any) -> bool | str:
    return value if isinstance(value, bool) else one_of(value, *COMPILERS)


def _share_of_data(value: Any) -> float | int:
    try:
        return number(value, 1e-9, 1)
    except ValueError:
        return whole(value, 2, 10_000_000)


def _scale(value: Any) -> Any:
    if isinstance(value, list | tuple) and len(value) == 2:
        low, high = (number(part, 0.01, 10) for part in value)
        if low > high:
            raise ValueError(f"expected the least before the most, found {short_repr(value)}")
        return [low, high]
    return number(value, 0, 1)


def _freeze(value: Any) -> Any:
    def layer(one: Any) -> int | str:
        if isinstance(one, str) and len(one) <= 100 and _LAYER.fullmatch(one):
            return one
        return whole(one, 0, 1000)

    if isinstance(value, list | tuple):
        if len(value) > MOST_LAYERS:
            raise ValueError(f"expected {MOST_LAYERS} layers at most, found {len(value)}")
        return [layer(one) for one in value]
    if isinstance(value, str) and value.casefold() in FROZEN_PARTS:
        return value.casefold()
    try:
        return whole(value, 0, 1000)
    except ValueError:
        words = " or ".join(FROZEN_PARTS)
        raise ValueError(
            f"expected a number of first layers from 0 to 1000, a list of layers, {words}, found {short_repr(value)}"
        ) from None


ALLOWED: Mapping[str, Callable[[Any], Any]] = {
    **between(whole, 1, 10_000, "epochs", "max_det"),
    **between(whole, 0, 10_000, "patience", "close_mosaic"),
    **between(whole, 1, 4096, "nbs"),
    **between(whole, 0, 64, "workers"),
    **between(whole, 32, 4096, "imgsz"),
    **between(number, 0.001, 24 * 30, "time"),
    **between(number, 0, 1000, "warmup_epochs", "box", "cls", "dfl"),
    **between(number, 0, 180, "degrees"),
    **between(number, 0, 45, "shear"),
    **between(number, 0, 0.01, "perspective"),
    **between(
        number, 0, 1,
        "lr0", "lrf", "momentum", "weight_decay", "warmup_momentum", "warmup_bias_lr", "cls_pw", "multi_scale", "conf",
        "iou", "hsv_h", "hsv_s", "hsv_v", "translate", "flipud", "fliplr", "bgr", "mosaic", "mixup",
        "cutmix", "copy_paste",
    ),
    **dict.fromkeys(("deterministic", "rect", "cos_lr", "val", "plots", "verbose"), switch),
    **dict.fromkeys(("cls_remap", "channels_last"), switch),
    "batch": _batch,
    "fraction": _share_of_data,
    "scale": _scale,
    "cache": _cache,
    "amp": _amp,
    "compile": _compile,
    "optimizer": lambda value: one_of(value, *OPTIMIZERS),
    "freeze": _freeze,
}  # fmt: skip
"""Argument -> what makes a good value of it, or raises a ValueError that says what would have been right."""

MAY_BE_EMPTY = frozenset({"time", "freeze", "conf", "channels_last"})
"""Arguments that ultralytics knows without a value."""


def check_argument(key: str, value: Any) -> Any:
    """The value as ultralytics wants it.

    Raises:
        ValueError: Saying what would have been right.
        KeyError: The argument is not on the list.
    """
    check = ALLOWED[key]
    if value is None:
        if key in MAY_BE_EMPTY:
            return None
        raise ValueError("expected a value, found none")
    return check(value)
