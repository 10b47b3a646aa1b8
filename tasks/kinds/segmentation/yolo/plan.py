"""What a recipe of YOLO-seg may say: the input, as of every model of this kind, and ultralytics' own arguments.

    model          yolo-seg
    architecture   one that ultralytics ships: yolo11n-seg.yaml ...
    weights        a file's name in `<state_dir>/weights/` (yolo11n-seg.pt), or the oid of a blob; none: from scratch
    min_steps      optimizer steps at least: epochs are raised until a training takes them
    scale_jitter   what ultralytics calls `scale`: tiles are shrunk or enlarged by up to such a share
    iou, max_det   of two boxes that overlap more the weaker goes; cells in a tile at most

`imgsz` is the side of a tile in training and use: pictures are cut and padded, never squeezed. `scale` enlarges before
that; masks of YOLO-seg have a quarter of the tile's resolution, so small cells want 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from pydantic import Field

from tasks.escaping import short_repr
from tasks.kinds.segmentation.allowed import tile_side, two_percentiles
from tasks.kinds.segmentation.architectures import YOLO_SEG
from tasks.kinds.segmentation.plan import PreparedPlan
from tasks.training import values
from tasks.training.ultralytics_allowed import ALLOWED, check_argument
from tasks.training.ultralytics_arguments import argument_defaults
from tasks.training.values import Check, number, one_of, switch, text, whole

MODEL = "yolo-seg"
_TILED = frozenset({"imgsz", "rect", "multi_scale", "val", "conf"})
"""Ultralytics' arguments that the cutting into tiles decides, or that stand elsewhere."""
OWN = ("architecture", "min_steps", "iou", "max_det")
INPUT = ("imgsz", "scale", "normalise", "percentiles", "gamma", "stain_transform")


class YoloPlan(PreparedPlan):
    """How a YOLO-seg learns and answers: `Recipe.arguments`, complete."""

    model: Literal["yolo-seg"] = "yolo-seg"
    architecture: str = Field(default="yolo11n-seg.yaml", description="A name of ultralytics'.")
    min_steps: int = Field(default=0, description="Optimizer steps at least: epochs are raised until then.")
    iou: float = Field(default=0.5, description="Of two boxes that overlap more the weaker goes.")
    max_det: int = Field(default=500, description="Cells of a tile at most.")

    ultralytics: dict[str, Any] = Field(default_factory=dict, description="Arguments in ultralytics' own words.")


COMMON_CHECKS: dict[str, Check] = {
    "description": lambda value: text(value, 2000),
    "kind": lambda value: one_of(value, "segmentation"),
    "weights": values.weights,
    "device": values.devices,
    "min_score": lambda value: number(value, 0, 1),
    "imgsz": partial(tile_side, most=4096),
    "scale": lambda value: number(value, 0.05, 8),
    "normalise": lambda value: one_of(value, "percentile", "fixed"),
    "percentiles": two_percentiles,
    "gamma": lambda value: number(value, 0.1, 10),
    "stain_transform": lambda value: one_of(value, "none", "macenko", "reinhard"),
}
"""Of what every model of another hand takes: cellpose, too."""

CHECKS: dict[str, Check] = {
    **{key: partial(check_argument, key) for key in ALLOWED if key not in _TILED},
    "scale_jitter": partial(check_argument, "scale"),
    "mask_ratio": lambda value: whole(value, 1, 8),
    "overlap_mask": switch,
    "model": lambda value: one_of(value, MODEL),
    "architecture": lambda value: one_of(value, *YOLO_SEG),
    "min_steps": lambda value: whole(value, 0, 10_000_000),
    "iou": lambda value: number(value, 0, 1),
    "max_det": lambda value: whole(value, 1, 10_000),
    **COMMON_CHECKS,
}
"""All that can be set, and how each value is checked."""


def refused(key: str) -> str | None:
    """Why an argument of ultralytics cannot be set; None: it can, or is none."""
    if key in CHECKS or key not in argument_defaults():
        return None
    if key in _TILED:
        return "pictures are cut into tiles of one size, `imgsz`"
    return "it has no part in training a baseline, or the line decides it"


def plan_of(checked: Mapping[str, Any]) -> tuple[YoloPlan, list[str]]:
    """The plan that checked values make, and what contradicts what in them, a phrase each."""
    theirs = {
        key: value for key, value in sorted(checked.items())
        if key in argument_defaults() and key not in OWN and key not in INPUT and key not in COMMON_CHECKS
        and key != "model"
    }  # fmt: skip
    if "scale_jitter" in checked:
        theirs["scale"] = checked["scale_jitter"]
    faults = []
    batch = checked.get("batch", argument_defaults()["batch"])
    if checked.get("min_steps") and checked.get("time"):
        faults.append("time: cannot bound a training that min_steps holds to a number of steps; set min_steps to 0")
    if batch < 1:
        faults.append(f"batch: expected a fixed number of tiles, from 1, found {short_repr(batch)}")
    own = {key: checked[key] for key in (*OWN, *INPUT) if key in checked}
    return YoloPlan(**own, ultralytics=theirs), faults
