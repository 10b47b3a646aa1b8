"""What a process that lost a lock must not do: write. Nothing here knows how locks are kept.

A lock of the whole installation is held by a session at a database. A session can end while its holder goes on: the
network was cut, the database was started again, an administrator ended it. Then another may hold the lock already. So

- whatever decides asks `require_held` at the last moment: writes and removals in the lake's bucket (`ObjectStore`),
  commits to tables (`tables.py`), moves of aliases in MLflow (`promotion/journal.py`);
- every turn of a lock has a number, its fencing token, greater than all before. Where the catalog is in the same
  database, a commit to a table is carried out only while the tokens of its writer are the newest ones
  (`tasks/lake/catalog.py`);
- a thread looks after sessions every `LOOK_EVERY_S` and ends what `on_loss` names, e.g. a training's worker.

Locks that are files cannot be lost, and cost nothing here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from tasks.errors import LockLost

LOOK_EVERY_S = 3.0


class Session(Protocol):
    """What holds locks."""

    uri: str

    def tokens(self) -> dict[str, int]:
        """Fenced locks that it holds, or believes to: full name → fencing token."""

    def lost(self) -> str:
        """Why its locks are lost, after a look; empty: they are held."""


_sessions: list[Session] = []
_callbacks: list[Callable[[], None]] = []
_changing = threading.Lock()
_watching: threading.Thread | None = None


def watch(session: Session) -> None:
    """Look after a session until `unwatch`."""
    global _watching
    with _changing:
        _sessions.append(session)
        if _watching is None or not _watching.is_alive():
            _watching = threading.Thread(target=_look, name="nightscope locks", daemon=True)
            _watching.start()


def unwatch(session: Session) -> None:
    """Do not look after it any more."""
    with _changing:
        if session in _sessions:
            _sessions.remove(session)


def require_held() -> None:
    """Make sure that this process still holds every fenced lock that it believes to hold.

    Raises:
        LockLost: It does not; what was about to be written must not be.
    """
    for session in list(_sessions):
        if (names := list(session.tokens())) and (why := session.lost()):
            raise lock_lost(names, why)


def lock_lost(names: list[str], why: str) -> LockLost:
    """The error of a holder whose locks went."""
    return LockLost(
        f"lock {', '.join(repr(name.rpartition('/')[2]) for name in names)}: lost while at work ({why})",
        expected="the session at the database that holds it",
        found="none: another process may hold the lock by now, so nothing more is written",
        fix="run this again: it goes on from what was written before",
    )


def tokens_of(uri: str) -> dict[str, int]:
    """Fenced locks of this process at one database: full name → fencing token."""
    found: dict[str, int] = {}
    for session in list(_sessions):
        if session.uri == uri:
            found |= session.tokens()
    return found


@contextmanager
def on_loss(end: Callable[[], None]) -> Iterator[None]:
    """Have `end` called, in another thread, when this process loses a fenced lock while the block lasts."""
    with _changing:
        _callbacks.append(end)
    try:
        yield
    finally:
        with _changing:
            _callbacks.remove(end)


def _look() -> None:
    global _watching
    pause = threading.Event()
    while True:
        with _changing:
            if not _sessions:
                _watching = None
                return
        pause.wait(LOOK_EVERY_S)
        if any(session.tokens() and session.lost() for session in list(_sessions)):
            with _changing:
                ending = list(_callbacks)
            for end in ending:
                end()


def _forget_parents() -> None:
    """A forked child holds none of its parent's locks."""
    global _changing, _watching
    _changing, _watching = threading.Lock(), None
    _sessions.clear()
    _callbacks.clear()


os.register_at_fork(after_in_child=_forget_parents)
