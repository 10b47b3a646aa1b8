"""monai's losses, without all else that `import monai` imports. Used by the worker only."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_OPTIONAL = ("jsonschema", "matplotlib", "mlflow", "onnx", "optuna", "pandas", "skimage", "sklearn", "transformers")
"""What monai tries, and does without where it is not installed. No loss needs it."""


@cache
def dice_and_focal() -> tuple[Any, Any]:
    """monai's classes `DiceLoss` and `FocalLoss`.

    `import monai` imports all its rooms, and what they can do more with where it is installed: 8 s of a core in every
    training, 1 s without.
    """
    with hidden(_OPTIONAL):
        from monai.losses import DiceLoss, FocalLoss
    return DiceLoss, FocalLoss


@contextmanager
def hidden(packages: Iterable[str]) -> Iterator[None]:
    """Have packages that are not yet imported look as if they were not installed, in all threads of this process."""
    names = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]  # None: `import` raises ModuleNotFoundError
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name)
