"""The PostgreSQL database that keeps an installation's locks: how it is reached, and what its errors mean.

The only module beside `lock_sessions` that knows `psycopg2`.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from tasks.config import Settings
from tasks.errors import ConfigError, NightscopeError, StorageUnavailable

KEY = (
    "held.locktype = 'advisory' AND held.granted AND held.objsubid = 1"
    " AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND ((held.classid::bigint << 32) | held.objid::bigint)"
)
"""SQL: the number of a granted advisory lock of this database among `pg_locks held`, to be compared."""

_OUR_SIDE = {
    "connect_timeout": 10,
    "keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 3, "keepalives_count": 3, "tcp_user_timeout": 10_000,
}  # fmt: skip
_THEIR_SIDE = {
    "tcp_keepalives_idle": "5", "tcp_keepalives_interval": "3", "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
    "client_connection_check_interval": "5000",  # so that one who died while waiting does not get the lock first
    "idle_session_timeout": "0", "statement_timeout": "0", "lock_timeout": "0",
}  # fmt: skip
"""What a session asks of the server for itself, so that it ends soon after its machine, and not before."""
ANSWER_S = 10.0
"""A database that takes longer to answer a question counts as gone."""
_LONGEST_APPLICATION = 63
_MAKING = 0x6E69676874  # an advisory lock of its own, while the table is made
_TABLE = """
    CREATE TABLE IF NOT EXISTS nightscope_fences (
        name text PRIMARY KEY, key bigint NOT NULL, token bigint NOT NULL,
        host text NOT NULL, pid integer NOT NULL, place text NOT NULL,
        acquired_at timestamptz NOT NULL, seen_at timestamptz NOT NULL, released_at timestamptz
    )
"""
_REFUSED = ("authentication failed", "no pg_hba.conf entry", "does not exist", "permission denied", "no password")


def connect(settings: Settings, doing: str) -> Any:
    """Open a session at the database of locks, in which each statement is a transaction; its table is there.

    Args:
        settings: Which database.
        doing: What people see of it in `pg_stat_activity`.
    """
    try:
        import psycopg2
    except ImportError as error:
        raise ConfigError(
            "NIGHTSCOPE_LOCKS__URI: PostgreSQL's client is not installed", expected="the package psycopg2-binary",
            found=str(error), fix="install it beside Nightscope",
        ) from error  # fmt: skip

    uri = settings.locks.uri.get_secret_value()
    scheme, _, rest = uri.partition("://")
    dsn = f"{scheme.partition('+')[0]}://{rest}"  # as SQLAlchemy writes it: postgresql+psycopg2://
    connection = psycopg2.connect(dsn, application_name=application_name(doing), **_OUR_SIDE)
    connection.autocommit = True
    with answered_within(connection, ANSWER_S), connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config(name, value, false) FROM unnest(%s, %s) AS asked (name, value)"
            " JOIN pg_settings USING (name)",  # what an older server does not know is left out
            [list(_THEIR_SIDE), list(_THEIR_SIDE.values())],
        )
        cursor.execute("SELECT to_regclass('nightscope_fences')")
        if cursor.fetchone()[0] is None:
            _make_table(cursor)
    return connection


@contextmanager
def answered_within(connection: Any, seconds: float) -> Iterator[None]:
    """Cut the connection where the block lasts longer: a proxy that is up may hide that nobody is behind it.

    The client's own timeouts only see whether its peer's kernel answers.
    """

    def cut() -> None:
        with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as mine:  # closed already, perhaps
            mine.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _make_table(cursor: Any) -> None:
    cursor.execute("SELECT pg_advisory_lock(%s)", [_MAKING])  # two that make one table at once fail
    try:
        cursor.execute(_TABLE)
    finally:
        cursor.execute("SELECT pg_advisory_unlock(%s)", [_MAKING])


def database_of(settings: Settings) -> str:
    """Host, port and name of the database, without what lets one in."""
    _, _, rest = settings.locks.uri.get_secret_value().partition("://")
    return rest.rpartition("@")[2].partition("?")[0]


def same_database(one: str, other: str) -> bool:
    """Whether two URLs name the same user of the same database."""

    def parts(uri: str) -> tuple[str, ...]:
        _, _, rest = uri.partition("://")
        user, _, where = rest.partition("?")[0].rpartition("@")
        hosts, _, name = where.partition("/")
        return user.partition(":")[0], ",".join(h if ":" in h else f"{h}:5432" for h in hosts.split(",")), name

    kinds = {uri.partition("://")[0].partition("+")[0].replace("postgresql", "postgres") for uri in (one, other)}
    return kinds == {"postgres"} and parts(one) == parts(other)


@contextmanager
def database_errors(settings: Settings) -> Iterator[None]:
    """Turn what the database's client raises into this project's errors.

    Raises:
        ConfigError: The database refuses us.
        StorageUnavailable: It did not answer, or the session ended.
    """
    try:
        yield
    except NightscopeError:
        raise
    except Exception as error:
        if not any(f"{kind.__module__}.{kind.__name__}" == "psycopg2.Error" for kind in type(error).__mro__):
            raise
        said = " ".join(str(error).split())[:300]
        thing = f"locks in PostgreSQL ({database_of(settings)})"
        if getattr(error, "pgcode", None) == "42501" or any(part in said for part in _REFUSED):
            raise ConfigError(
                f"{thing}: the database refuses it ({said})",
                expected="a database whose user may make tables in it",
                fix="check NIGHTSCOPE_LOCKS__URI, and the rights of its user",
            ) from error
        raise StorageUnavailable(f"{thing}: did not answer properly ({said})", fix="is it up?") from error


def application_name(what: str) -> str:
    """By what people know a session in `pg_stat_activity`: 'nightscope <host> <pid>: <locks>', cut to what fits."""
    return f"nightscope {socket.gethostname()[:20]} {os.getpid()}: {what}"[:_LONGEST_APPLICATION]


def holder_here() -> dict[str, Any]:
    """This process, for the table of fences."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "place": _place()}


@lru_cache(maxsize=1)
def _place() -> str:
    """Within which a pid means one process: this boot of this machine, and its namespace of pids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux: no two processes are known to be in one place
        return f"unknown {os.urandom(8).hex()}"
