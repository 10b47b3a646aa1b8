"""In which precision ultralytics computes, and what it is not given to choose itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasks.errors import ConfigError

HALF = ("bf16", "fp16", True)


def precision(asked: Any, device: str) -> bool | str:
    """Ultralytics' `amp` for a recipe's.

    Args:
        asked: auto, fp32, bf16, fp16; true = fp16, false = fp32.
        device: What the training runs on: 'cpu', 'cuda:0'.

    Raises:
        ConfigError: Half precision is asked for where ultralytics has none.
    """
    if asked == "auto":
        return "bf16" if device.startswith("cuda") else False
    if asked in (False, "fp32"):
        return False
    if not device.startswith("cuda"):
        raise ConfigError(
            f"amp: {str(asked).lower()} has no effect on a CPU",
            expected="a GPU: ultralytics computes in half precision on one only",
            found=f"a training on {device}",
            fix="set amp: auto (half precision on a GPU, full precision on a CPU), or amp: fp32",
        )
    return "bf16" if asked == "bf16" else "fp16"


@contextmanager
def without_trial_model() -> Iterator[None]:
    """Have ultralytics take fp16 as it is asked for.

    It would download a model first and compare its answers in both precisions, and offline fail to. Gradients that
    are not finite are left out by the scaler, as always.
    """
    from ultralytics.engine import trainer

    theirs = trainer.check_amp
    trainer.check_amp = lambda _: True
    try:
        yield
    finally:
        trainer.check_amp = theirs
