"""Stages of a training by ultralytics: one after the other, each with values of its own, all of them one training.

`arguments["stages"]` lists what each stage says otherwise than the arguments beside it. Epochs and steps are counted on
through all stages. A stage begins with the weights and the average of weights that the one before ended with, and with
a new optimizer, warm-up and fall of the learning rate. Nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.training.ultralytics_arguments import Schedule, schedule


@dataclass(frozen=True)
class Stage:
    """One stage of a training; a training without stages is one.

    Attributes:
        number: Counted from 0.
        count: How many there are.
        first_epoch: Epochs of the stages before it.
        all_epochs: Of all stages together.
        arguments: Complete, with `epochs` and `patience` as they were worked out.
    """

    number: int = 0
    count: int = 1
    first_epoch: int = 0
    all_epochs: int = 0
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def last(self) -> bool:
        """Whether the training ends with it."""
        return self.number + 1 >= self.count


def spelt_out(arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The arguments of each stage, complete; of a training without stages its own."""
    base = {key: value for key, value in arguments.items() if key != "stages"}
    stages: list[dict[str, Any]] = arguments.get("stages") or [{}]
    return [{**base, **stage} for stage in stages]


def stages_of(arguments: Mapping[str, Any], min_steps: int, images: int) -> list[Stage]:
    """The stages of a training on so many images.

    The last one is prolonged until all together take `min_steps` optimizer steps, and it alone may stop early.
    """
    *before, last = spelt_out(arguments)
    plans = [schedule({**stage, "patience": 0}, 0, images) for stage in before]
    taken = sum(plan.epochs * plan.steps_per_epoch for plan in plans)
    plans.append(schedule(last, max(0, min_steps - taken), images))
    every = sum(plan.epochs for plan in plans)
    return [
        Stage(number, len(plans), sum(p.epochs for p in plans[:number]), every, _with(stage, plan))
        for number, (stage, plan) in enumerate(zip([*before, last], plans, strict=True))
    ]


def _with(stage: dict[str, Any], plan: Schedule) -> dict[str, Any]:
    return {**stage, "epochs": plan.epochs, "patience": plan.patience}
