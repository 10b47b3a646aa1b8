"""Show on stderr what steps, operations and experiments log while they work."""

from __future__ import annotations

import logging
import sys

ROOMS = ("steps", "operations", "experiments", "promotion")
"""Rooms whose progress a person wants to see. Of the others only warnings are shown."""


class _Stderr(logging.Handler):
    """Prints each message as it stands to whatever stderr is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr, flush=True)


def show_progress() -> None:
    """Show progress from now on, for the rest of this process. Safe to call again."""
    logger = logging.getLogger("tasks")
    if not any(isinstance(handler, _Stderr) for handler in logger.handlers):
        logger.addHandler(_Stderr())
    for room in ROOMS:
        logging.getLogger(f"tasks.{room}").setLevel(logging.INFO)
