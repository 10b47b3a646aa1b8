"""What a picture may look like as well: turned, mirrored, shifted, brighter. Used by the worker only."""

from __future__ import annotations

import math
from typing import Any

import torch
from torchvision.transforms import v2

from tasks.kinds.classification.plan import TrainingPlan


def augmentation(plan: TrainingPlan) -> Any:
    """The transform of a square, uint8 [3, side, side], that a plan describes; None: there is none.

    A square that is turned shows its mirror image in the corners, never a black one: a network learns black corners.
    For the same reason an erased patch shows the mean colour of its own picture.
    """
    side, steps = plan.imgsz, []
    if plan.flip:
        steps += [v2.RandomHorizontalFlip(0.5), v2.RandomVerticalFlip(0.5)]
    if plan.degrees or plan.translate or plan.scale:
        reach = (math.sqrt(2) if plan.degrees else 1.0) / (1 - plan.scale)  # of a turned, shrunk square
        margin = min(side - 1, math.ceil(side * ((reach - 1) / 2 + plan.translate)))
        frame = side + 2 * margin
        shift = plan.translate * side / frame
        steps += [
            v2.Pad(margin, padding_mode="reflect"),
            v2.RandomAffine(
                plan.degrees,
                translate=(shift, shift),
                scale=(1 - plan.scale, 1 + plan.scale),
                interpolation=v2.InterpolationMode.BILINEAR,
            ),
            v2.CenterCrop(side),
        ]
    if plan.brightness or plan.contrast or plan.saturation or plan.hue:
        steps.append(v2.ColorJitter(plan.brightness, plan.contrast, plan.saturation, plan.hue))
    if plan.blur:
        steps.append(v2.RandomApply([v2.GaussianBlur(5, (0.2, 1.5))], p=plan.blur))
    if plan.erase:
        steps.append(ErasedToMean(plan.erase, scale=(0.02, 0.15)))
    return v2.Compose(steps) if steps else None


class ErasedToMean(v2.RandomErasing):  # type: ignore[misc]
    """Erases a patch of a square, uint8 [3, side, side]: it gets the mean colour of the square."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Choose the patch as torchvision does, and its colour from the square."""
        patch: dict[str, Any] = super().make_params(flat_inputs)
        if patch["v"] is not None:
            (square,) = flat_inputs
            patch["v"] = square.float().mean((1, 2), keepdim=True).round().to(torch.uint8)
        return patch
