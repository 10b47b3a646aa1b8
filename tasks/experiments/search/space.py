"""Search spaces: which values of a recipe are tried. YAML by a person, checked whole before the first trial.

recipe: [detection-from-scratch, detection-from-coco]   a list: these values
optimizer: [AdamW, SGD]
lr0: {low: 0.0005, high: 0.02, log: true}               a range of numbers
batch: {low: 4, high: 16, step: 4}                      whole numbers where low, high and step are
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from tasks.config import Line
from tasks.errors import ConfigError
from tasks.escaping import short_repr
from tasks.kind import Kind
from tasks.small_yaml import read_yaml
from tasks.training.trial_values import (
    MOST_TRIALS,
    MOST_VALUES,
    Choice,
    Dimension,
    Range,
    Sampler,
    Scalar,
    Space,
    cells,
)

MOST_KEYS = 30
_CELLS_CHECKED = 200
"""Of a grid: each cell is a recipe that has to be read; of larger grids each value is checked by itself."""
_BESIDE = 12
"""Combinations beside which a value is tried before it counts as refused."""
_SCIENTIFIC = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
_NOT_SEARCHED = {
    "seed": "a seed is no setting: the best of several is luck, and does not last",
    "name": "say `recipe`",
    "device": "where a training runs does not make a better model",
    "from_search": "a search begins with the line",
    "gate": "gates judge a model, they do not make it",
    "evaluation": "how models are judged is not searched for",
}
EXAMPLE = "e.g. {lr0: {low: 0.0005, high: 0.02, log: true}, optimizer: [AdamW, SGD]}"


def read_space(text: str, source: str) -> Any:
    """The data of a space's YAML; `parse_space` says whether it is one.

    Raises:
        ConfigError: It is not YAML that we read.
    """
    return read_yaml(text, source)


def parse_space(data: Any, line: Line, kind: Kind, changes: Mapping[str, Any], sampler: Sampler) -> Space:
    """Turn data into a space that the line's kind and recipes take, or list every fault.

    Args:
        data: As the YAML has it.
        line: Whose recipe, as its file has it.
        kind: Of the line.
        changes: Of the line, for every trial.
        sampler: A grid needs values that can be counted.

    Raises:
        ConfigError: Naming all faults at once.
    """
    if not isinstance(data, dict) or not 0 < len(data) <= MOST_KEYS:
        raise ConfigError(
            f"line {line.line}: the search space is empty, or none",
            expected=f"1 to {MOST_KEYS} recipe keys with their values, {EXAMPLE}", found=short_repr(data),
        )  # fmt: skip
    space: Space = {}
    faults: list[str] = []
    for key, value in data.items():
        try:
            space[_key(key, changes)] = _dimension(value)
        except ValueError as error:
            faults.append(f"{key if isinstance(key, str) and len(key) < 60 else short_repr(key)}: {error}")
    if sampler == "grid":
        faults += _not_counted(space)
    faults += _refused(space, line, kind, changes)
    if not faults and sampler == "grid":
        faults += _bad_cells(space, line, kind, changes)
    if faults:
        raise ConfigError(f"line {line.line}: search space: {'; '.join(faults)}")
    return space


def dumped(space: Space) -> dict[str, Any]:
    """A space as people write it."""
    return {
        key: list(found.values) if isinstance(found, Choice) else found.model_dump(exclude_defaults=True)
        for key, found in space.items()
    }


def restored(data: Mapping[str, Any]) -> Space:
    """A space that was checked before, from `dumped`."""
    return {key: _dimension(value) for key, value in data.items()}


def _key(key: Any, changes: Mapping[str, Any]) -> str:
    if not isinstance(key, str):
        raise ValueError(f"expected a recipe key, found {short_repr(key)}")
    why = _NOT_SEARCHED.get(key.partition(".")[0])
    if why:
        raise ValueError(f"cannot be searched, {why}")
    if key in changes:
        raise ValueError("stands in the space and in --set")
    return key


def _dimension(value: Any) -> Dimension:
    """A list of values, or a range.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(value, dict):
        try:
            return Range.model_validate({key: _number(item) for key, item in value.items()})
        except (ValidationError, TypeError) as error:
            raise ValueError(_words(error)) from error
    if not isinstance(value, list):
        raise ValueError(f"expected a list of values or {{low, high, log, step}}, found {short_repr(value)}")
    values = [_number(item) for item in value]
    if any(isinstance(item, list | dict) for item in values):
        raise ValueError(
            "takes lists, and only plain values (numbers, words, true, false, null) are searched: search for what its "
            "lists are made of where the recipe has keys for that, or run one search for each list, with --set"
        )
    odd = [item for item in values if not (item is None or isinstance(item, bool | int | float | str))]
    if odd or any(isinstance(item, float) and not math.isfinite(item) for item in values):
        raise ValueError(f"expected plain values, found {short_repr(odd[0] if odd else values)}")
    if not 0 < len(values) <= MOST_VALUES:
        raise ValueError(f"expected 1 to {MOST_VALUES} values, found {len(values)}")
    if any(one == other for one, other in itertools.combinations(values, 2)):
        raise ValueError(f"a value stands twice in {short_repr(values)}")
    return Choice(values=tuple(values))


def _number(value: Any) -> Any:
    """YAML 1.1 takes 1e-4 for a text, and so does our reader; whoever writes it means a number."""
    return float(value) if isinstance(value, str) and _SCIENTIFIC.fullmatch(value) else value


def _words(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return "expected {low, high, log, step}"
    return "; ".join(
        dict.fromkeys(
            ": ".join((*[str(part) for part in fault["loc"][:1]], fault["msg"].removeprefix("Value error, ")))
            for fault in error.errors()
        )
    )


def _not_counted(space: Space) -> list[str]:
    faults = [
        f"{key}: a grid needs a list, or a range with a step, of at most {MOST_VALUES} values"
        for key, dimension in space.items()
        if not 0 < len(dimension.grid()) <= MOST_VALUES
    ]
    if not faults and cells(space) > MOST_TRIALS:
        faults.append(
            f"its grid has {cells(space):,} combinations; expected at most {MOST_TRIALS:,}, or another sampler"
        )
    return faults


def _refused(space: Space, line: Line, kind: Kind, changes: Mapping[str, Any]) -> list[str]:
    """What the recipes refuse, each value by itself."""
    recipes: Sequence[Scalar] = space["recipe"].probes() if "recipe" in space else (None,)
    faults: dict[str, None] = {}
    for recipe in recipes:
        own = {**changes} if recipe is None else {**changes, "recipe": recipe}
        fault = _fault(line, kind, own)
        if fault:
            faults[fault] = None
            continue
        for key, dimension in space.items():
            if key == "recipe":
                continue
            bad = [text for value in dimension.probes() if (text := _fault_of(line, kind, own, space, key, value))]
            if bad:
                more = f" (and {len(bad) - 1} more of its values)" if len(bad) > 1 else ""
                faults[f"{bad[0]}{more}"] = None
    return list(faults)


def _fault_of(line: Line, kind: Kind, own: Mapping[str, Any], space: Space, key: str, value: Scalar) -> str:
    """Why a recipe takes a value neither beside the line's others nor beside any of the space's; empty: it does."""
    fault = _fault(line, kind, {**own, key: value})
    if not fault:
        return ""
    others = {each: dimension.probes() for each, dimension in space.items() if each not in (key, "recipe")}
    for values in itertools.islice(itertools.product(*others.values()), _BESIDE):
        if others and not _fault(line, kind, {**own, **dict(zip(others, values, strict=True)), key: value}):
            return ""
    return fault


def _bad_cells(space: Space, line: Line, kind: Kind, changes: Mapping[str, Any]) -> Iterator[str]:
    """Combinations of a small grid that a recipe refuses although it takes each value."""
    if cells(space) > _CELLS_CHECKED:
        return
    for values in itertools.product(*(dimension.grid() for dimension in space.values())):
        cell = dict(zip(space, values, strict=True))
        fault = _fault(line, kind, {**changes, **cell})
        if fault:
            yield f"{cell}: {fault}"


def _fault(line: Line, kind: Kind, changes: Mapping[str, Any]) -> str:
    """Why these values are no recipe; empty: they are one."""
    try:
        kind.recipes.load_recipe(line.with_changes(changes).recipe)
    except ConfigError as error:
        return error.thing
    return ""
