"""Which operations of a training have no deterministic implementation. Imported by the worker only.

Ultralytics asks torch for deterministic algorithms, with a warning where an operation has none. The warning is all
there is to say later why two trainings of one run key differ: so it is heard, and recorded with the training.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_SAID = re.compile(r"(\S+) does not have a deterministic implementation")
_CUBLAS = "Deterministic behavior was enabled with either"
NOT_ASKED = "everything: the recipe says deterministic: false"


def operation_of(message: str) -> str | None:
    """The operation that a warning of torch is about; None: it is about something else.

    >>> operation_of("cumsum_cuda_kernel does not have a deterministic implementation, but you set ...")
    'cumsum_cuda_kernel'
    """
    if message.startswith(_CUBLAS):
        return "matrix products on CUDA (CUBLAS_WORKSPACE_CONFIG is not set)"
    found = _SAID.match(message)
    return found[1] if found else None


def epoch_seed(seed: int, epoch: int) -> int:
    """What an epoch's shuffling and augmentation are drawn from, so that a resumed training draws the same."""
    return (seed + 1) * 1_000_003 + epoch


@contextmanager
def listening(tell: Callable[[str], None]) -> Iterator[None]:
    """Tell each operation without a deterministic implementation once, for as long as the block lasts.

    Warnings go on to wherever they went before.
    """
    told: set[str] = set()
    before = warnings.showwarning

    def show(message: Any, *rest: Any, **named: Any) -> None:
        operation = operation_of(str(message))
        if operation and operation not in told:
            told.add(operation)
            tell(operation)
        before(message, *rest, **named)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before
