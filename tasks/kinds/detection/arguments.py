"""Ultralytics' own training arguments and their defaults, read from its files without importing it.

Importing ultralytics costs five seconds, and a recipe is checked in the first second of a night. So the list of
arguments is read from its `cfg/default.yaml`. Which of them a recipe may set, and to what, is in `allowed.py`; the
worker hands the values to ultralytics' own `get_cfg`, which has the last word, and a test holds the two together.
"""

from __future__ import annotations

import importlib.util
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
