"""What a recipe of cellpose may say.

model       cellpose
weights     a file's name in `<state_dir>/weights/`, e.g. cellpose's `cpsam` renamed to cpsam.pt; it must be given
epochs      0: the weights are judged as they are; else cellpose's own training goes on from them
scale       instead of cellpose's diameter: 30 / diameter in pixels. 1: as cellpose does without one
flow_threshold, cellprob_threshold, min_size, iterations    as cellpose names and means them
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from tasks.errors import ConfigError
from tasks.kinds.segmentation.plan import PreparedPlan
from tasks.kinds.segmentation.yolo.plan import COMMON_CHECKS
from tasks.training.starting import WEIGHTS_NAME
from tasks.training.values import Check, number, one_of, weights, whole

MODEL = "cellpose"


class CellposePlan(PreparedPlan):
    """How cellpose learns and answers: `Recipe.arguments`, complete."""

    model: Literal["cellpose"] = "cellpose"
    epochs: int = Field(
        default=0,
        description="Passes of cellpose's own training, whose rate rises from nothing over the first ten; 0: none.",
    )
    learning_rate: float = 1e-5
    weight_decay: float = 0.1
    batch_size: int = Field(default=1, description="Crops of 256 pixels in a step.")
    flow_threshold: float = Field(default=0.4, description="Cells whose flows err more are left out; 0: none are.")
    cellprob_threshold: float = Field(default=0.0, description="Logit above which a pixel is of a cell.")
    min_size: int = Field(default=15, description="Smaller cells are left out, in pixels after scaling.")
    iterations: int = Field(default=200, description="Steps along the flows.")


CHECKS: dict[str, Check] = {
    **COMMON_CHECKS,
    "weights": lambda value: weights(value, WEIGHTS_NAME, "a .pt, .pth or .safetensors"),
    "model": lambda value: one_of(value, MODEL),
    "epochs": lambda value: whole(value, 0, 10_000),
    "learning_rate": lambda value: number(value, 0, 1),
    "weight_decay": lambda value: number(value, 0, 1),
    "batch_size": lambda value: whole(value, 1, 1024),
    "flow_threshold": lambda value: number(value, 0, 100),
    "cellprob_threshold": lambda value: number(value, -20, 20),
    "min_size": lambda value: whole(value, 0, 1_000_000),
    "iterations": lambda value: whole(value, 1, 100_000),
}
"""All that can be set, and how each value is checked."""


def refused(key: str) -> str | None:
    """Why a key cannot be set, where that is known."""
    return "`scale` is 30 / diameter" if key == "diameter" else None


def plan_of(checked: Mapping[str, Any]) -> tuple[CellposePlan, list[str]]:
    """The plan that checked values make, and what contradicts what in them, a phrase each."""
    faults = []
    if checked.get("weights") is None:
        faults.append("weights: cellpose is judged by its weights, and none are named: nothing is downloaded")
    return CellposePlan(**{key: checked[key] for key in CellposePlan.model_fields if key in checked}), faults


def need_cellpose() -> None:
    """Refuse where the package is missing.

    Raises:
        ConfigError: It is not installed.
    """
    if importlib.util.find_spec("cellpose") is None:
        raise ConfigError(
            "the model 'cellpose' needs the package cellpose", expected="cellpose from 4.0 on", found="none",
            fix="uv pip install 'cellpose>=4', on every machine that trains, evaluates or serves it",
        )  # fmt: skip
