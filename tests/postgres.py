"""A real PostgreSQL for tests: on loopback, on a free port, with a login by password."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.stack.ports import any_port

DATABASE, USER = "nightscope", "nightscope"
_PLACES = "/usr/lib/postgresql/*/bin"


@dataclass(frozen=True)
class PostgresServer:
    """A running server.

    Attributes:
        uri: Of its one database, as its owner, who is also the superuser.
    """

    folder: Path
    port: int
    uri: str

    def stop(self, how: str = "fast") -> None:
        """End it: 'fast' closes sessions, 'immediate' is a crash."""
        _as_owner(self.folder, [_program("pg_ctl"), "-D", str(self.folder / "data"), "-w", "-m", how, "stop"])

    def start(self) -> None:
        """Start it, or start it again with what it held."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        command = [_program("pg_ctl"), "-D", str(self.folder / "data"), "-w", "-t", "60"]
        _as_owner(self.folder, [*command, "-l", str(self.folder / "server.log"), "-o", options, "start"])

    def ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        import psycopg2

        connection = psycopg2.connect(self.uri)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(query, values or None)  # without values a % is a %
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def database(self, name: str) -> str:
        """Make another database; its URI."""
        self.ask(f'CREATE DATABASE "{name}"')
        return f"{self.uri.rpartition('/')[0]}/{name}"


@contextmanager
def postgres_server(log_folder: Path | None = None) -> Iterator[PostgresServer]:
    """Run a PostgreSQL of its own until the block ends.

    Its data lie in a temporary folder of its own, not in pytest's: a root's tests run the server as the user `postgres`
    or `nobody`, and pytest keeps its folders to whoever runs it.

    Args:
        log_folder: Where its log is kept when it ended.
    """
    folder = Path(tempfile.mkdtemp(prefix="nightscope-postgresql-"))
    port, password = any_port(), secrets.token_urlsafe(16)
    server = PostgresServer(folder, port, f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}")
    secret = folder / "password"
    secret.write_text(password)
    _own(folder)
    make = ["--auth=scram-sha-256", "--pwfile", str(secret), "--username", USER, "--no-sync", "--encoding=UTF8"]
    _as_owner(folder, [_program("initdb"), "-D", str(folder / "data"), *make])
    secret.unlink()
    server.start()
    try:
        _create_database(server)
        yield server
    finally:
        server.stop("immediate")
        if log_folder is not None:
            log_folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / "server.log", log_folder / "server.log")
        shutil.rmtree(folder)


def _create_database(server: PostgresServer) -> None:
    first = PostgresServer(server.folder, server.port, f"{server.uri.rpartition('/')[0]}/postgres")
    first.ask(f"CREATE DATABASE {DATABASE}")


def _program(name: str) -> str:
    """A program of PostgreSQL's newest version here."""
    found = sorted(Path("/").glob(f"{_PLACES[1:]}/{name}"), key=lambda path: int(path.parts[4]))
    program = str(found[-1]) if found else shutil.which(name)
    assert program, f"PostgreSQL is not installed ({name}): `make production-services`, or apt-get install postgresql"
    return program


def _owner() -> pwd.struct_passwd | None:
    """Whom the server runs as; None: as we do. PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


def _own(folder: Path) -> None:
    """Give the folder to the server's user."""
    if owner := _owner():
        for path in (folder, *folder.iterdir()):
            os.chown(path, owner.pw_uid, owner.pw_gid)


def _as_owner(folder: Path, command: Sequence[str]) -> None:
    owner = _owner()
    log = folder / "commands.log"
    with log.open("ab") as out:  # not a pipe: the server would keep it open
        done = subprocess.run(
            command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, check=False,
            user=owner and owner.pw_uid, group=owner and owner.pw_gid, extra_groups=[] if owner else None,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
    assert done.returncode == 0, f"{command}: {log.read_text()}"
