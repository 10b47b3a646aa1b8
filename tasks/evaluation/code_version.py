"""Which code measures: part of an evaluation's identity, so that old numbers are never taken for those of new code."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

from tasks.schemas import digest

_ROOMS = ("metrics", "evaluation")
_ONLY_SHOWN = {"report.py", "content.py", "plots.py", "tables.py", "artifacts.py"}
"""Files of these rooms that make pages of numbers, and no numbers."""


@cache
def measuring_version() -> str:
    """Digest of the sources that decide what an evaluation says, and of numpy's version; 16 hex digits.

    How a model predicts is not in it: that is its recipe's and its weights' affair, and both are named elsewhere.
    """
    here = Path(__file__).parent.parent
    sources = {
        f"{room}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for room in _ROOMS
        for path in sorted((here / room).glob("*.py"))
        if path.name not in _ONLY_SHOWN
    }
    return digest(sources, version("numpy"))[:16]
