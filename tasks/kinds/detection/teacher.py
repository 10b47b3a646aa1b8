"""The teacher of a detector: a finished one, loaded as harmlessly as all weights, held to the student. Workers only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ultralytics.nn.modules import Detect

from tasks.errors import ConfigError
from tasks.kinds.detection.distillation import Answers
from tasks.training.ultralytics_loading import load_checkpoint


class Teacher:
    """A detector that answers, and learns nothing.

    Args:
        weights: A .pt of ultralytics'; verified by the step.
        classes: Of the student, in order.
        strides: Of the student's grids, finest first, in pixels.
        device: Where the student is.
        channels_last: As the student's memory is laid out.

    Raises:
        ConfigError: It cannot teach this student.
        DataError: The weights cannot be loaded, or hold what is no part of a model.
    """

    def __init__(
        self, weights: Path, *, classes: Sequence[str], strides: Sequence[int], device: Any, channels_last: bool
    ) -> None:
        held = load_checkpoint(weights)
        network = held.get("ema") or held["model"]
        _refuse_stranger(network, list(classes), list(strides))
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.network = network.float().eval().requires_grad_(False).to(device).to(memory_format=layout)

    def __call__(self, images: torch.Tensor) -> Answers:
        """What its head or heads answer to a batch [n, 3, height, width], before sigmoid and suppression of doubles."""
        with torch.no_grad():
            answers: Answers = self.network(images)[1]
        return answers


def _refuse_stranger(network: Any, classes: list[str], strides: list[int]) -> None:
    """Refuse a teacher of other classes or other grids, all faults at once."""
    head = network.model[-1] if hasattr(network, "model") else None
    if not isinstance(head, Detect):
        raise _cannot_teach("a detector of YOLO's", f"a {type(head or network).__name__} at its end")
    named = [str(network.names[index]) for index in sorted(network.names)]
    grids = [int(stride) for stride in head.stride]
    expected, found = [], []
    if named != classes:
        expected.append(f"the classes {', '.join(classes)}, in this order")
        found.append(f"the classes {', '.join(named)}")
    if grids != strides:
        expected.append(f"heads at strides {', '.join(map(str, strides))}, as the student has")
        found.append(f"heads at strides {', '.join(map(str, grids))}")
    if expected:
        raise _cannot_teach("; ".join(expected), "; ".join(found))


def _cannot_teach(expected: str, found: str) -> ConfigError:
    return ConfigError(
        "teacher: cannot teach this student",
        expected=expected,
        found=found,
        fix="name as `teacher` what a training of this line's classes made with the same heads, or choose the "
        "student's `model` by it",
    )
