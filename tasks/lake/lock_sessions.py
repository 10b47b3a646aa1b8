"""Locks of an installation with many machines: advisory locks in PostgreSQL, and the fencing tokens beside them.

A thread that holds locks has one session at the database, and the locks live exactly as long as it does: its end, by
release, by kill -9, by a cut, frees them. Keepalives on both sides bound how long a dead peer is believed in: after
about 14 s the server ends the session of a machine that is gone, and after about 13 s the holder of a session that is
gone knows (see `tasks/lake/fences.py`).

An advisory lock has a number, not a name: the first 64 bits of sha256 over the lock's full name,
'<lake bucket>/<name>'. Among n names that are in use at once two share a number with a chance of n² / 2⁶⁵: among a
million, 3 in 10⁸. It would make their holders wait for each other, and nothing worse.

The table `nightscope_fences` has a row for each lock that was ever taken: the token of its newest turn, and its holder.
A token is the server's clock in µs, or one more than the last token where that is greater: so it also grows where a
standby took over that had not yet heard of the last ones.

A holder that never gave its lock back may have sent a write that is still on its way. Unless it was a process of this
machine that is gone, the next holder begins no sooner than `locks.grace_s` after it was last seen: each look that finds
the locks held is noted, to the second, and before each write there is one.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tasks.config import Settings
from tasks.errors import StorageUnavailable
from tasks.lake import fences
from tasks.lake.lock_database import (
    ANSWER_S,
    KEY,
    answered_within,
    application_name,
    connect,
    database_errors,
    database_of,
    holder_here,
)

log = logging.getLogger(__name__)

_LOOK_AGAIN_S = 2.0
"""A wait at the database lasts so long at most before it begins anew: what waits must hear of a signal."""

_SEEN_S = 1
"""A look that comes sooner after a noted one is not noted."""
_PREVIOUS = """
    SELECT host, pid, place, released_at, extract(epoch FROM clock_timestamp() - seen_at)::float8
    FROM nightscope_fences WHERE name = %s
"""
_TAKE = """
    INSERT INTO nightscope_fences AS known (name, key, token, host, pid, place, acquired_at, seen_at, released_at)
    VALUES (%(name)s, %(key)s, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
            %(host)s, %(pid)s, %(place)s, clock_timestamp(), clock_timestamp(), NULL)
    ON CONFLICT (name) DO UPDATE SET token = greatest(known.token + 1, excluded.token), key = excluded.key,
        host = excluded.host, pid = excluded.pid, place = excluded.place,
        acquired_at = excluded.acquired_at, seen_at = excluded.seen_at, released_at = NULL
    RETURNING token
"""
_FORGET = "DELETE FROM nightscope_fences WHERE released_at < clock_timestamp() - interval '30 days'"
_GIVE_BACK = "UPDATE nightscope_fences SET released_at = clock_timestamp() WHERE name = %s AND token = %s"
_HELD = f"""
    WITH seen AS (
        UPDATE nightscope_fences known SET seen_at = clock_timestamp() FROM pg_locks held
        WHERE {KEY} = known.key AND held.pid = pg_backend_pid() AND known.released_at IS NULL
            AND known.seen_at < clock_timestamp() - interval '{_SEEN_S} second'
    )
    SELECT known.name, known.token FROM nightscope_fences known JOIN pg_locks held ON {KEY} = known.key
    WHERE held.pid = pg_backend_pid() AND known.released_at IS NULL
"""
_HOLDERS = f"""
    SELECT known.name, known.host, known.pid, known.acquired_at
    FROM nightscope_fences known JOIN pg_locks held ON {KEY} = known.key
    WHERE known.released_at IS NULL AND known.name LIKE %s ORDER BY known.acquired_at
"""


class Holder(NamedTuple):
    """Who holds a lock of the installation."""

    lock: str
    host: str
    pid: int
    since: datetime

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


@contextmanager
def hold(settings: Settings, name: str, *, until: float | None, fenced: bool) -> Iterator[None]:
    """Hold a lock of the installation. See `tasks.lake.locks.lake_lock`, which nobody bypasses.

    Args:
        settings: Of this installation.
        name: The lock's.
        until: `time.monotonic()` up to which to wait; None: for ever.
        fenced: Whether nothing may be written once it is lost.
    """
    session = _session(settings)
    try:
        session.take(settings, name, until, fenced)
        try:
            yield
        except BaseException:
            session.give_back(settings, name)
            raise
        else:
            if (why := session.give_back(settings, name)) and fenced:
                raise fences.lock_lost([name], why)
    finally:
        session.close_if_idle()


def holders(settings: Settings) -> list[Holder]:
    """Who holds which lock of the installation now, the oldest first."""
    prefix = full_name(settings, "")
    with database_errors(settings), connect(settings, "looks at locks") as connection, connection.cursor() as cursor:
        cursor.execute(_HOLDERS, [_escaped(prefix) + "%"])
        return [Holder(name.removeprefix(prefix), host, pid, at) for name, host, pid, at in cursor.fetchall()]


def full_name(settings: Settings, name: str) -> str:
    """A lock's name at the database, which installations with other buckets may share."""
    return f"{settings.s3.lake_bucket}/{name}"


def number_of(name: str) -> int:
    """The number of a lock by its full name: 64 bits, signed."""
    return int.from_bytes(hashlib.sha256(f"nightscope lock\n{name}".encode()).digest()[:8], "big", signed=True)


class _Held(NamedTuple):
    token: int
    fenced: bool


class _Session:
    """A thread's session at the database, while it holds locks."""

    def __init__(self, settings: Settings) -> None:
        self.uri = database_of(settings)
        self._thread = threading.get_ident()
        self._key = _key_of(settings)
        self._why = ""
        self._held: dict[str, _Held] = {}
        self._connection = connect(settings, "waits for a lock")
        self._ask(_FORGET)  # each training and each trial has a lock of its own name
        fences.watch(self)

    def tokens(self) -> dict[str, int]:
        return {name: held.token for name, held in list(self._held.items()) if held.fenced}

    def lost(self) -> str:
        if not self._why and (expected := self.tokens()):
            try:
                found = dict(self._ask(_HELD))
            except _database_error() as error:
                self._why = " ".join(str(error).split())[:200] or type(error).__name__
            else:
                gone = [name for name, token in expected.items() if found.get(name) != token]
                # Given back meanwhile, by the thread whose session it is, is not lost.
                if gone := [name for name in gone if name in self.tokens()]:
                    self._why = f"the database does not know this session as the holder of {', '.join(gone)}"
        return self._why

    def take(self, settings: Settings, name: str, until: float | None, fenced: bool) -> None:
        full, number = full_name(settings, name), number_of(full_name(settings, name))
        with database_errors(settings):
            if not self._ask("SELECT pg_try_advisory_lock(%s)", number)[0][0]:
                self._wait(settings, name, number, until)
            previous = self._ask(_PREVIOUS, full)
            mine = {"name": full, "key": number, **holder_here()}
            token = self._ask(_TAKE, mine)[0][0]
            self._held[full] = _Held(token, fenced)
            self._say_what_is_held()
        try:
            if previous and _may_still_write(*previous[0][1:4], here=mine["place"]):
                self._rest(settings, name, *previous[0][:2], seen_s=previous[0][4])
        except BaseException:
            self.give_back(settings, name, rested=False)
            raise

    def _wait(self, settings: Settings, name: str, number: int, until: float | None) -> None:
        said = False
        while True:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                raise StorageUnavailable(
                    f"lock {name!r} is held by {self._holder_of(settings, name)}",
                    fix=f"wait for it, or end it ({database_of(settings)})",
                )
            if not said:
                log.info("waiting for lock %r, held by %s", name, self._holder_of(settings, name))
                said = True
            wait_ms = int(1000 * min(_LOOK_AGAIN_S, _LOOK_AGAIN_S if left is None else max(left, 0.001)))
            if self._taken_within(number, wait_ms):
                return

    def _taken_within(self, number: int, wait_ms: int) -> bool:
        from psycopg2.errors import LockNotAvailable

        self._ask("SELECT set_config('lock_timeout', %s, false)", str(wait_ms))
        try:
            self._ask("SELECT pg_advisory_lock(%s)", number)
        except LockNotAvailable:
            return False
        finally:
            with suppress(_database_error()):  # a session that is gone is told of by what failed
                self._ask("SELECT set_config('lock_timeout', '0', false)")
        return True

    def _holder_of(self, settings: Settings, name: str) -> str:
        found = self._ask(_HOLDERS, _escaped(full_name(settings, name)))
        return str(Holder(*found[0])) if found else "a process that is only beginning or ending"

    def _rest(self, settings: Settings, name: str, host: str, pid: int, *, seen_s: float) -> None:
        """Wait until nothing is on its way any more of a holder that was last seen `seen_s` seconds ago."""
        if (left := settings.locks.grace_s + _SEEN_S - seen_s) <= 0:
            return
        log.info(
            "lock %r was not given back by process %s on %s: waiting %.3g s for what it may have sent to end",
            name, pid, host, left,
        )  # fmt: skip
        time.sleep(left)
        if why := self.lost():
            raise fences.lock_lost([name], why)

    def give_back(self, settings: Settings, name: str, *, rested: bool = True) -> str:
        """Release a lock; why it was lost before, or nothing.

        `rested`: whether what a former holder may have sent is over; else the next one must wait for it, too.
        """
        full = full_name(settings, name)
        why = self.lost()
        held = self._held.pop(full)
        try:
            if rested:
                self._ask(_GIVE_BACK, full, held.token)
            self._ask("SELECT pg_advisory_unlock(%s)", number_of(full))
            self._say_what_is_held()
        except _database_error() as error:
            self._why = why = why or " ".join(str(error).split())[:200]
        return why

    def close_if_idle(self) -> None:
        """End the session once it holds nothing."""
        if not self._held:
            fences.unwatch(self)
            _sessions.pop(self._key, None)
            with suppress(_database_error()):
                self._connection.close()

    def abandon(self) -> None:
        """In a forked child: let go of the parent's socket, and say nothing to the server."""
        with suppress(OSError, _database_error()):
            os.close(self._connection.fileno())

    def _say_what_is_held(self) -> None:
        names = ", ".join(name.partition("/")[2] for name in self._held) or "waits for a lock"
        self._ask("SELECT set_config('application_name', %s, false)", application_name(names))

    def _ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with answered_within(self._connection, ANSWER_S + _LOOK_AGAIN_S), self._connection.cursor() as cursor:
            cursor.execute(query, values[0] if values and isinstance(values[0], dict) else values)
            return cursor.fetchall() if cursor.description else []


_sessions: dict[tuple[str, str, int], _Session] = {}
_abandoned: list[_Session] = []


def _session(settings: Settings) -> _Session:
    """This thread's session; opened where it holds no lock yet."""
    key = _key_of(settings)
    if key not in _sessions:
        with database_errors(settings):
            _sessions[key] = _Session(settings)
    return _sessions[key]


def _key_of(settings: Settings) -> tuple[str, str, int]:
    """Two state folders are two machines, also in one process: else a session would be granted what it has."""
    return database_of(settings), str(settings.state_dir), threading.get_ident()


def _abandon() -> None:
    """A forked child has a session of its own when it needs one."""
    for session in _sessions.values():
        session.abandon()
        _abandoned.append(session)  # never collected: its end would be sent to the parent's server
    _sessions.clear()


os.register_at_fork(after_in_child=_abandon)


def _may_still_write(pid: int, place: str, released_at: datetime | None, *, here: str) -> bool:
    """Whether a former holder may still be at work, or something that it sent on its way."""
    import psutil

    if released_at is not None:
        return False
    return place != here or psutil.pid_exists(pid)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _database_error() -> type[Exception]:
    from psycopg2 import Error

    kind: type[Exception] = Error
    return kind
