"""What a recipe of a detector with anchors may say. Checked without importing torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict

from tasks.escaping import short_repr
from tasks.schemas import Frozen
from tasks.training import values
from tasks.training.installed import INSTALLED
from tasks.training.microscope import Microscope
from tasks.training.ultralytics_knobs import CHECKS as KNOBS
from tasks.training.values import Check, between, number, one_of, whole

MODEL = "retinanet"
FIRST_LEVEL, LEVELS = 3, 3
"""P3, P4 and P5."""
BACKBONES = {"efficientnet-lite0": "tf_efficientnet_lite0", "tiny": "tiny"}
"""By their names in a recipe."""
Size = tuple[float, float]


class AnchoredPlan(Frozen):
    """How a detector with anchors learns.

    Attributes:
        backbone: Of `BACKBONES`.
        width: Channels of the pyramid and the heads.
        anchors: Width and height in pixels of the scaled picture, for P3 first; None: fitted to the training split.
        anchors_per_level: How many for each of the levels P3, P4 and P5, where they are fitted.
        epochs, batch: `min_steps` of the recipe raises the epochs.
        imgsz: Side that the longest side is scaled to.
        lr0, lrf: Learning rate after the warm-up, and what part of it is left in the end, along a cosine.
        warmup: Share of all steps in which the rate rises from nothing.
        weight_decay: Of AdamW.
        clip: Largest norm of the gradient; 0: any.
        fliplr, flipud: How often a picture is mirrored.
        scale, translate: How much larger or smaller, and how far off, by share of its side.
        hsv_v: By how much grey levels are multiplied, at most.
        repeat_threshold, balanced_batches: Which pictures an epoch shows; see `tasks/training/imbalance.py`.
        microscope: How often each thing happens to a picture; see `tasks/training/microscope.py`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str = "efficientnet-lite0"
    width: int = 64
    anchors: tuple[Size, ...] | None = None
    anchors_per_level: int = 3
    epochs: int = 10
    batch: int = 8
    imgsz: int = 640
    lr0: float = 0.001
    lrf: float = 0.01
    warmup: float = 0.05
    weight_decay: float = 0.0005
    clip: float = 10.0
    fliplr: float = 0.5
    flipud: float = 0.0
    scale: float = 0.3
    translate: float = 0.1
    hsv_v: float = 0.4
    repeat_threshold: float = 0.0
    balanced_batches: bool = False
    microscope: Microscope | None = None


def _anchors(value: Any) -> list[Size] | None:
    """'auto', or [[width, height], ...], as many for each level, smallest first."""
    if value is None or (isinstance(value, str) and value.casefold() == "auto"):
        return None
    pairs = isinstance(value, list | tuple) and all(isinstance(each, list | tuple) and len(each) == 2 for each in value)
    if not pairs or not value or len(value) % LEVELS or len(value) > 9 * LEVELS:
        raise ValueError(
            f"expected auto, or [[width, height], ...] in pixels, as many for each of the {LEVELS} levels P3 to P5, "
            f"found {short_repr(value)}"
        )
    sizes = [(float(number(width, 1, 8192)), float(number(height, 1, 8192))) for width, height in value]
    return sorted(sizes, key=lambda size: size[0] * size[1])


def _weights(value: Any) -> str | None:
    if isinstance(value, str) and value in INSTALLED:
        if value != "efficientnet-lite0":
            raise ValueError(f"expected efficientnet-lite0, or a file's or a blob's name, found {short_repr(value)}")
        return str(value)
    return values.weights(value)


def _width(value: Any) -> int:
    found = whole(value, 16, 512)
    if found % 8:
        raise ValueError(f"expected a multiple of 8, found {short_repr(value)}")
    return found


CHECKS: Mapping[str, Check] = {
    "model": lambda value: one_of(value, MODEL),
    "weights": _weights,
    "backbone": lambda value: one_of(value, *BACKBONES),
    "width": _width,
    "anchors": _anchors,
    **between(whole, 1, 9, "anchors_per_level"),
    **between(whole, 1, 10_000, "epochs"),
    **between(whole, 1, 1024, "batch"),
    **between(whole, 32, 4096, "imgsz"),
    **between(number, 0, 1, "lr0", "lrf", "weight_decay", "fliplr", "flipud", "translate", "hsv_v", "conf", "iou"),
    **between(number, 0, 0.9, "scale", "warmup"),
    **between(number, 0, 1000, "clip"),
    **between(whole, 1, 10_000, "max_det"),
    **{key: KNOBS[key] for key in ("repeat_threshold", "balanced_batches", "microscope", "denoiser")},
}
"""Beside what every recipe of the kind may say; the others of ultralytics' arguments mean nothing here."""


def contradictions(checked: Mapping[str, Any]) -> list[str]:
    """What does not go together, a phrase each."""
    faults = []
    if checked.get("weights") in INSTALLED and checked.get("backbone", "efficientnet-lite0") != checked["weights"]:
        faults.append(f"weights: {checked['weights']} are not those of the backbone {checked['backbone']}")
    if "," in (checked.get("device") or ""):
        faults.append(f"device: a detector with anchors is trained on one, found {checked['device']}")
    return faults
