"""Models of other hands that are recipes of this kind, for the same gate: how their recipes are checked and trained.

`recipe.py` and `train.py` ask here first: a model named here has checks, a plan and a training of its own; prediction
and everything after it is shared, since its network answers in `RawInstances`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

ROOMS = {"yolo-seg": "yolo", "cellpose": "cellpose_sam"}
"""`model` of a recipe -> the room beside this file."""


def plan_module(model: Any) -> Any | None:
    """The module with `CHECKS`, `refused(key)`, `plan_of(checked) -> (plan, faults)`; None: the model is ours."""
    return import_module(f"{__package__}.{ROOMS[model]}.plan") if _is_foreign(model) else None


def train_module(model: Any) -> Any | None:
    """The module with `usable()` and `train(job, report)`; None: the model is ours."""
    return import_module(f"{__package__}.{ROOMS[model]}.train") if _is_foreign(model) else None


def _is_foreign(model: Any) -> bool:
    return isinstance(model, str) and model in ROOMS
