"""Ultralytics' own training arguments and their defaults, read from its files without importing it.

Importing ultralytics costs five seconds, and a recipe is checked in the first second of a night. So the list of
arguments is read from its `cfg/default.yaml`. Which of them a recipe may set, and to what, is in
`ultralytics_allowed.py`; the worker hands the values to ultralytics' own `get_cfg`, which has the last word, and a
test holds the two together.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tasks.errors import ConfigError


@cache
def argument_defaults() -> dict[str, Any]:
    """Every argument of the installed ultralytics, with its default.

    Raises:
        ConfigError: Ultralytics is not installed.
    """
    spec = importlib.util.find_spec("ultralytics")
    if spec is None or spec.origin is None:
        raise ConfigError("ultralytics is not installed", fix="install the locked environment: make install")
    found: dict[str, Any] = yaml.safe_load((Path(spec.origin).parent / "cfg" / "default.yaml").read_text())
    return found


@dataclass(frozen=True)
class Schedule:
    """How long a training is: what ultralytics counts (epochs), and what counts (optimizer steps)."""

    epochs: int
    steps_per_epoch: int
    patience: int


def schedule(arguments: Mapping[str, Any], min_steps: int, images: int) -> Schedule:
    """Raise epochs until a training on so many images takes `min_steps` optimizer steps; no early stop before that."""
    defaults = argument_defaults()
    batch, nbs, patience = (arguments.get(key, defaults[key]) for key in ("batch", "nbs", "patience"))
    fraction = arguments.get("fraction", defaults["fraction"])
    used = min(images, int(fraction)) if fraction > 1 else max(1, round(images * fraction))
    steps = 1
    if batch >= 1:  # else ultralytics finds a batch size itself, and min_steps is refused with it
        batches = math.ceil(used / batch)
        steps = max(1, batches // max(round(nbs / batch), 1))
    least = math.ceil(min_steps / steps)
    return Schedule(
        max(int(arguments.get("epochs", defaults["epochs"])), least), steps, max(patience, least) if patience else 0
    )
