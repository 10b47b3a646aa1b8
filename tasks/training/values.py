"""Checking the values of recipes, whatever the kind: numbers, switches, names, devices, weights; all faults at once.

A check takes a value as YAML or a command line gives it, and returns it as the training wants it, or raises a
ValueError that says what would have been right. Nothing heavy is imported: recipes are checked first of all.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tasks.config import RecipeChoice
from tasks.errors import ConfigError
from tasks.escaping import short_repr
from tasks.lake.denoisers import VERSION_NAME
from tasks.small_yaml import read_yaml
from tasks.training.installed import INSTALLED
from tasks.training.starting import OID, SAFETENSORS_NAME, TORCH_NAME, WEIGHTS_NAME

Check = Callable[[Any], Any]

MOST_DEVICES = 64
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_DEVICES = re.compile(r"cpu|[0-9]{1,3}(,[0-9]{1,3}){0,63}")


def number(value: Any, least: float, most: float) -> float | int:
    """A finite number between two bounds. Text that spells one is read as one: YAML takes `1e-3` for text.

    Raises:
        ValueError: Saying what would have been right.
    """
    wanted = f"a number from {least:g} to {most:g}"
    spelt = isinstance(value, str) and len(value) <= 40 and _NUMBER.fullmatch(value)
    found = float(value) if spelt else value
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ValueError(f"expected {wanted}, found {short_repr(value)}")
    if not least <= found <= most:  # of integers as they are: no float holds a huge one; NaN lies nowhere
        raise ValueError(f"expected {wanted}, found {short_repr(value)}")
    return found


def whole(value: Any, least: int, most: int) -> int:
    """A whole number between two bounds; 3.0 is one.

    Raises:
        ValueError: Saying what would have been right.
    """
    try:
        found = number(value, least, most)
    except ValueError:
        found = math.nan
    if found != found or found != int(found):
        raise ValueError(f"expected a whole number from {least} to {most}, found {short_repr(value)}")
    return int(found)


def switch(value: Any) -> bool:
    """True or false, and nothing that only looks like it.

    Raises:
        ValueError: It is neither.
    """
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, found {short_repr(value)}")
    return value


def one_of(value: Any, *names: str) -> str:
    """One of some names, whatever its case.

    Raises:
        ValueError: It is none of them.
    """
    for name in names:
        if isinstance(value, str) and value.casefold() == name.casefold():
            return name
    raise ValueError(f"expected one of {', '.join(names)}, found {short_repr(value)}")


def text(value: Any, most: int = 500) -> str:
    """Text of a line or a few, without control characters.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(value, str) or len(value) > most or not value.replace("\n", " ").isprintable():
        wanted = f"text of at most {most} characters, none of them a control character"
        raise ValueError(f"expected {wanted}, found {short_repr(value)}")
    return value


def between(check: Callable[..., Any], least: float, most: float, *keys: str) -> dict[str, Check]:
    """The same check, `number` or `whole`, for several keys."""
    return dict.fromkeys(keys, partial(check, least=least, most=most))


def devices(value: Any) -> str | None:
    """None (any), 'cpu', '0', '0,1'; numbers and lists of them are welcome.

    Raises:
        ValueError: It names no device.
    """
    if value is None or value == "auto":
        return None
    parts = value if isinstance(value, list | tuple) else [value]
    plain = [part for part in parts[:MOST_DEVICES] if isinstance(part, str) or (type(part) is int and 0 <= part < 1000)]
    named = ",".join(str(part).replace(" ", "") for part in plain)
    if len(plain) < len(parts) or not _DEVICES.fullmatch(named):
        raise ValueError(f"expected auto, cpu, or GPUs by number ('0' or '0,1'), found {short_repr(value)}")
    return named


def one_device(trained: str) -> Check:
    """A check of one device, where several cannot be used.

    Args:
        trained: What is trained on it, for the message: 'a classifier'.
    """

    def check(value: Any) -> str | None:
        found = devices(value)
        if found and "," in found:
            raise ValueError(f"expected one device: {trained} is trained on one, found {short_repr(value)}")
        return found

    return check


def choice(plan: type[BaseModel], key: str) -> Check:
    """A check of one of the names that a plan's field lists."""
    names = plan.model_fields[key].annotation.__args__  # type: ignore[union-attr]
    return lambda value: one_of(value, *names)


def weights(value: Any, names: re.Pattern[str] = TORCH_NAME, called: str = "a .pt") -> str | None:
    """What a training starts from: None, the oid of a blob, or a file's bare name.

    Args:
        value: As given.
        names: What such a name looks like.
        called: The same in words.

    Raises:
        ValueError: It is neither.
    """
    if value is not None and not (isinstance(value, str) and (OID.fullmatch(value) or names.fullmatch(value))):
        raise ValueError(
            f"expected the oid of a blob, or the bare name of {called} in the weights folder, found {short_repr(value)}"
        )
    return value


def denoiser(value: Any) -> str | None:
    """What frames go through: None, a version of a denoiser, the oid of a blob, or a file's bare name.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(value, str) and VERSION_NAME.fullmatch(value):
        return value
    return weights(value, SAFETENSORS_NAME, "a version of a denoiser, such as speckle/1, or of a .safetensors")


def starting_weights(value: Any) -> str | None:
    """Weights of a network of timm's or of ours: those of an installed package by their name, else as `weights`."""
    if isinstance(value, str) and value in INSTALLED:
        return value
    return weights(value, WEIGHTS_NAME, f"a .pt, .pth or .safetensors (or one of {', '.join(INSTALLED)})")


def close_matches(name: str, known: Collection[str]) -> str:
    """' (did you mean a or b?)' for a misspelt name, or nothing."""
    close = difflib.get_close_matches(name, sorted(known), n=2)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def recipe_names(folder: Path) -> tuple[str, ...]:
    """The recipes in a folder, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def recipe_values(folder: Path, choice: RecipeChoice) -> dict[str, Any]:
    """What a recipe's file says, and over it what the line changes; not checked yet.

    Raises:
        ConfigError: There is no such recipe.
    """
    names = recipe_names(folder)
    if choice.name not in names:
        raise ConfigError(
            f"recipe {short_repr(choice.name)}: no such recipe{close_matches(choice.name, names)}",
            expected=f"one of: {', '.join(names)}",
        )
    path = folder / f"{choice.name}.yaml"
    return {**read_yaml(path.read_text(), str(path)), **choice.changes}


def checked_values(
    values: Mapping[str, Any], checks: Mapping[str, Check], refused: Callable[[str], str | None] = lambda _: None
) -> tuple[dict[str, Any], list[str]]:
    """The values in the form that the training wants, and what is wrong, a phrase for each key.

    Args:
        values: As given.
        checks: What can be set, and how it is checked.
        refused: Why a key that is not in `checks` cannot be set, where that is known; asked before them.
    """
    checked: dict[str, Any] = {}
    faults = []
    for key, value in values.items():
        reason = refused(key) if isinstance(key, str) else None
        if reason:
            faults.append(f"{key}: cannot be set, {reason}; found {short_repr(value)}")
        elif key not in checks:
            faults.append(f"{_shown(key)}: no such argument{_meant(str(key)[:60], checks)}; found {short_repr(value)}")
        else:
            try:
                checked[key] = checks[key](value)
            except ValueError as error:
                faults.append(f"{key}: {error}")
    return checked, faults


def _meant(name: str, known: Collection[str]) -> str:
    """What may have been meant by a name that is not known."""
    group, _, rest = name.partition(".")
    return f" (say {group}={{{rest}: ...}})" if rest.isidentifier() and group in known else close_matches(name, known)


def _shown(key: Any) -> str:
    """A key as it stands, unless it is long or would move a terminal's cursor."""
    return key if isinstance(key, str) and len(key) <= 60 and key.isprintable() else short_repr(key)
