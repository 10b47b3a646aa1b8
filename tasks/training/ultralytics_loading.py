"""Reading a .pt without running anything that it holds.

A .pt is a pickle, and a pickle is a program. Torch's `weights_only` builds nothing but what is on a list; ultralytics
keeps the list of its own layers, to which ours are added (`ultralytics_layers.py`). Both are switched on for the whole
process (`harmless`), because ultralytics loads files in many places of its own, and would `eval` the `activation:` of
an architecture's YAML otherwise.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tasks.errors import ConfigError, DataError

SWITCHES = {"ULTRALYTICS_SAFE_LOAD": "1", "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}
"""The first is read when ultralytics is imported, the second at every load, even one that asks for the contrary."""
_CONTRARY = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


def harmless() -> None:
    """Have this process load nothing that could run, whatever the environment says, and whoever imported what before.

    Raises:
        ConfigError: Ultralytics cannot do it.
    """
    os.environ.update(SWITCHES)
    os.environ.pop(_CONTRARY, None)
    from PIL import Image
    from ultralytics.nn import tasks
    from ultralytics.utils import patches

    from tasks.training import ultralytics_layers

    Image.open = patches._image_open  # theirs would install a reader of HEIF whenever a file is no picture
    tasks.SAFE_LOAD = True  # imported before with the switch off, it would never look again
    if not tasks._SafeLoad.SUPPORTED:
        raise ConfigError(
            "ultralytics would run what a file of weights holds",
            expected="torch from 2.6 on, which can load without running",
            fix="use the locked environment: make install",
        )
    ultralytics_layers.allow()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What a .pt of ultralytics holds: its model (of an unfinished training: `ema`), and what stands beside it.

    Args:
        path: Local file; it needs no suffix.

    Raises:
        DataError: It is no such file, is damaged, or holds what is no part of a model.
    """
    harmless()
    import torch
    from ultralytics.nn.tasks import _SafeLoad

    try:
        with _SafeLoad.loading(path):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of bytes that anybody may have made: there is no list of what they can raise
        raise refused(path.name, error) from error
    # An unfinished training keeps only the averages of its weights, under `ema`.
    held: dict[str, Any] = content if isinstance(content, dict) else {}
    if not any(hasattr(held.get(name), "state_dict") for name in ("model", "ema")):
        raise DataError(f"weights {path.name}", expected="a model of ultralytics", found=type(content).__name__)
    return held


def refused(name: str, error: Exception) -> DataError:
    """What to say of weights that could not be loaded."""
    return DataError(
        f"weights {name} cannot be loaded",
        expected="weights of an ultralytics model and nothing else: what else they hold would be run",
        found=" ".join(str(error).split())[:300] or type(error).__name__,
        fix="take weights that a training of ours made, or ultralytics' own",
    )
