"""How writers of a table take turns, and try again when another machine's commit came first."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TypeVar

from tasks.config import Settings
from tasks.errors import StorageUnavailable
from tasks.lake.locks import lake_lock

T = TypeVar("T")
_ATTEMPTS = 30
_TURN_S = 60.0


@contextmanager
def turn(settings: Settings, table: str) -> Iterator[None]:
    """Writers commit one after the other, or else most of their work would be overtaken.

    Only a courtesy: what keeps commits apart is Iceberg's compare-and-swap. So losing the turn forbids nothing.
    """
    with ExitStack() as stack:
        with suppress(StorageUnavailable):  # somebody hangs: try without
            stack.enter_context(lake_lock(settings, f"table-{table}", timeout_s=_TURN_S, fenced=False))
        yield


def until_committed(settings: Settings, table: str, commit: Callable[[], T | None]) -> T:
    """Look and commit, in turn, until nobody else's commit comes between; what it returned.

    Args:
        settings: Of this installation.
        table: Its name.
        commit: Looks at the table and commits; None where somebody else committed first.

    Raises:
        StorageUnavailable: Others kept committing first.
    """
    for attempt in range(_ATTEMPTS):
        with turn(settings, table):
            done = commit()
        if done is not None:
            return done
        time.sleep(random.uniform(0.01, 0.05 * min(attempt + 1, 8)))
    raise StorageUnavailable(f"table {table}: {_ATTEMPTS} commits in a row were overtaken by other writers")
