"""Values of a training that ultralytics has no argument for, or none any more: ours, beside its own.

    focal_gamma  focal loss of the classes; ultralytics dropped its `fl_gamma` with the anchors
    clip_norm    longest gradient; ultralytics clips at 10, whatever one asks for
    ema          decay of the average of weights that is validated and kept; ultralytics has 0.9999
    ema_tau      steps in which that average becomes slow; ultralytics has 2000
    iou_loss     by which overlap the loss of the boxes is measured; ultralytics has CIoU
    attention    before the head of any architecture; ultralytics wants an architecture for each

Their defaults are what ultralytics does. `ultralytics_resume.py` puts them into its trainer. Nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from tasks.schemas import Frozen
from tasks.training.values import Check, between, number, one_of

OVERLAPS = ("ciou", "diou", "giou", "iou")
ATTENTION = ("none", "cbam", "coordinate", "shuffle")


class Knobs(Frozen):
    """What our trainer does otherwise than ultralytics'."""

    focal_gamma: float = Field(default=0.0, description="How much the class loss looks away from what is easy; 0: no.")
    clip_norm: float = Field(default=10.0, description="Longest gradient; 0: any.")
    ema: float = Field(default=0.9999, description="Decay of the average of weights that is kept; 0: no average.")
    ema_tau: float = Field(default=2000.0, description="Steps in which the average's decay rises.")
    iou_loss: str = Field(default="ciou", description="The overlap in the loss of the boxes.")
    attention: str = Field(default="none", description="What is put between neck and head.")


CHECKS: Mapping[str, Check] = {
    **between(number, 0, 10, "focal_gamma"),
    **between(number, 0, 1000, "clip_norm"),
    **between(number, 0, 0.99999, "ema"),
    **between(number, 1, 1_000_000, "ema_tau"),
    "iou_loss": lambda value: one_of(value, *OVERLAPS),
    "attention": lambda value: one_of(value, *ATTENTION),
}
"""What a good value of each is."""


def apart(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], Knobs]:
    """Ultralytics' own arguments, and ours, of a dict that holds both."""
    theirs = {key: value for key, value in arguments.items() if key not in CHECKS}
    return theirs, Knobs(**{key: value for key, value in arguments.items() if key in CHECKS})
