"""What a search tries: the values of a space, and those of each trial, drawn by Optuna.

`nightscope search` draws the values of a line's recipe here, and a kind's searches for scripts those of theirs. What
is drawn follows from the space, the seed, the trial's number and, for TPE, from the trials that were seen: asked again,
after a kill or by another machine, it is the same. No sampler's state is kept.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.config import LARGEST
from tasks.schemas import Frozen, digest

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

Scalar: TypeAlias = bool | int | float | str | None
Sampler = Literal["grid", "random", "tpe"]
Direction = Literal["maximize", "minimize"]
_Result = TypeVar("_Result")

MOST_VALUES, MOST_TRIALS = 100, 1000
STARTUP_TRIALS = 10
"""Of TPE: before it has seen so many, it draws at random."""


class Choice(Frozen):
    """One of these values."""

    values: tuple[Scalar, ...] = Field(min_length=1, max_length=MOST_VALUES)

    def grid(self) -> tuple[Scalar, ...]:
        """All of them."""
        return self.values

    def probes(self) -> tuple[Scalar, ...]:
        """Values that stand for all when a recipe is asked whether it takes them."""
        return self.values


class Range(BaseModel):
    """A number between two, both included: whole where `low`, `high` and `step` are."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    low: int | float = Field(allow_inf_nan=False)
    high: int | float = Field(allow_inf_nan=False)
    log: bool = False
    step: int | float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _is_a_range(self) -> Range:
        if max(abs(self.low), abs(self.high)) > LARGEST:
            raise ValueError(f"its ends must lie within {LARGEST}")
        if self.low >= self.high:
            raise ValueError(f"low must be below high, found {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs a low above 0, found {self.low}")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError(f"step must fit between low and high, found {self.step}")
        return self

    @property
    def whole(self) -> bool:
        """Whether its numbers are whole."""
        return all(isinstance(value, int) for value in (self.low, self.high, self.step or 0))

    def grid(self) -> tuple[Scalar, ...]:
        """Its numbers, a step apart; empty where it has no step, so that they cannot be counted."""
        step = self.step or (1 if self.whole and not self.log else None)
        if step is None:
            return ()
        count = math.floor((self.high - self.low) / step * (1 + 1e-12)) + 1
        numbers = [self.low + number * step for number in range(min(count, MOST_VALUES + 1))]
        return tuple(number if self.whole else float(f"{number:.12g}") for number in numbers)

    def probes(self) -> tuple[Scalar, ...]:
        """Both ends, and the numbers in between if they are few."""
        return tuple(dict.fromkeys((*self.grid()[:20], self.low, self.high)))


Dimension = Choice | Range
Space = dict[str, Dimension]


def cells(space: Space) -> int:
    """How many combinations a grid has."""
    return math.prod(len(dimension.grid()) for dimension in space.values())


def draw(
    space: Space, sampler: Sampler, seed: int, number: int, seen: Sequence[FrozenTrial] = (),
    direction: Direction = "maximize",
) -> dict[str, Scalar]:  # fmt: skip
    """The values of a trial.

    Args:
        space: What may be drawn; of a grid, all of it can be counted.
        sampler: How it is drawn.
        seed: Of the search.
        number: Which trial, from 1. A grid's last is that of `cells`.
        seen: What TPE goes by: trials with a value, and running ones, which it keeps away from.
        direction: Of the trials' values.
    """
    from optuna.trial import TrialState, create_trial

    study = new_study(direction, sampler=_sampler(space, sampler, seed, number))
    if sampler == "grid":  # the sampler goes by a trial's number, and needs to know nothing else
        study.add_trials([create_trial(state=TrialState.FAIL)] * (number - 1))
    study.add_trials(seen)
    return dict(study.ask(distributions(space, sampler)).params)


def draw_each(space: Space, sampler: Sampler, seed: int, count: int) -> list[dict[str, Scalar]]:
    """The values of the first so many trials, each as `draw` gives it to who has seen no other; a grid's in one go."""
    if sampler != "grid":
        return [draw(space, sampler, seed, number) for number in range(1, count + 1)]
    study, own = new_study("maximize", sampler=_sampler(space, sampler, seed, 1)), distributions(space, sampler)
    return [dict(study.ask(own).params) for _ in range(count)]


def new_study(direction: Direction, name: str | None = None, sampler: BaseSampler | None = None) -> Study:
    """A study of Optuna's, in memory."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna.create_study(study_name=name, sampler=sampler, direction=direction)


def distributions(space: Space, sampler: Sampler) -> dict[str, BaseDistribution]:
    """The space as Optuna has it."""
    return {key: _distribution(found, sampler == "grid") for key, found in space.items()}


def _sampler(space: Space, sampler: Sampler, seed: int, number: int) -> BaseSampler:
    from optuna.samplers import GridSampler, RandomSampler, TPESampler

    if sampler == "grid":
        grid: Mapping[str, list[Any]] = {key: list(found.grid()) for key, found in space.items()}
        return GridSampler(grid, seed=seed)
    own = int(digest("trial", seed, number)[:8], 16)
    if sampler == "random":
        return RandomSampler(seed=own)
    return TPESampler(seed=own, n_startup_trials=STARTUP_TRIALS)


def _distribution(dimension: Dimension, counted: bool) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.values)
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), dimension.log, int(dimension.step or 1))
    step = None if counted else dimension.step  # a grid's numbers are rounded, and a step would refuse them
    return FloatDistribution(float(dimension.low), float(dimension.high), dimension.log, step)


def attempt_each(numbers: Sequence[int], attempt: Callable[[int], _Result], max_parallel: int = 1) -> list[_Result]:
    """Make an attempt at every trial, some at once, and give what came of each in the numbers' order.

    Args:
        numbers: Of the trials.
        attempt: Raises nothing that a trial is to blame for: it would end the others.
        max_parallel: In flight, 1 or more. Trainings still take turns on a device.
    """
    if max_parallel == 1:
        return [attempt(number) for number in numbers]
    with ThreadPoolExecutor(max_parallel) as threads:
        return list(threads.map(attempt, numbers))
