"""Machines of one installation, in tests: state folders of their own; one S3, one PostgreSQL for catalog and locks."""

from __future__ import annotations

import pickle
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pydantic import SecretStr

from tasks.config import CatalogSettings, LocksSettings, Settings
from tests.postgres import PostgresServer

ROOT = Path(__file__).resolve().parents[1]


def host(settings: Settings, uri: str, folder: Path, grace_s: float = 1) -> Settings:
    """An installation's settings as one of its machines has them.

    Args:
        settings: Of the installation: its S3, MLflow, Label Studio and keys are shared.
        uri: Of the database for the catalog and the locks.
        folder: The machine's state.
        grace_s: How long a lock rests after a holder that was cut off.
    """
    shared = settings.signing.model_copy(
        update={"private_key": settings.signing_key, "trusted_keys": settings.trusted_keys, "heads": settings.heads}
    )
    return settings.model_copy(
        update={
            "state_dir": folder,
            "catalog": CatalogSettings(uri=SecretStr(uri.replace("postgresql:", "postgresql+psycopg2:"))),
            "locks": LocksSettings(uri=SecretStr(uri), grace_s=grace_s),
            "signing": shared,
        }
    )


def run_on(settings: Settings, script: str) -> Process:
    """Run a script in a process of a machine; it finds an open `lake`, and the nouns of `tests/lake`.

    Settings go through a pipe: they hold secrets.
    """
    head = f"""
        import pickle, sys
        sys.path.insert(0, {str(ROOT)!r})
        settings = pickle.load(sys.stdin.buffer)
        from tasks.lake import open_lake
        from tests.lake.nouns import *
        lake = open_lake(settings)
    """
    code = textwrap.dedent(head) + textwrap.dedent(script)
    complaints = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process; a pipe could fill up
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints
    )
    assert process.stdin is not None
    process.stdin.write(pickle.dumps(settings))
    process.stdin.close()
    process.stdin = None
    return Process(process, complaints)


class Process:
    """A process whose lines are text."""

    def __init__(self, process: subprocess.Popen[bytes], complaints: IO[bytes]) -> None:
        self.process, self.pid, self._complaints = process, process.pid, complaints

    def line(self) -> str:
        """Its next line; fails with what it complains of where it ended."""
        assert self.process.stdout is not None
        found = self.process.stdout.readline().decode().strip()
        assert found, self.complaints()
        return found

    def complaints(self) -> str:
        """What it wrote to its standard error."""
        self._complaints.seek(0)
        return self._complaints.read().decode()

    def rest(self, timeout_s: float = 120) -> str:
        """All that it still prints; fails where it fails."""
        try:
            out = self.process.communicate(timeout=timeout_s)[0]
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"not done in {timeout_s} s: {self.complaints()}") from None
        assert self.process.returncode == 0, self.complaints()
        return out.decode().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Proxy:
    """A TCP proxy on loopback whose connections can be cut in silence: nothing comes through, and nobody is told.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, to_port: int) -> None:
        self._to, self._ends = to_port, list[socket.socket]()
        self._cut = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """Swallow from now on what either side sends."""
        self._cut.set()

    def close(self) -> None:
        for end in (self._server, *self._ends):
            with suppress(OSError):
                end.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near = self._server.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._to))
                self._ends += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self._cut.is_set():
                    continue
                target.sendall(data)
            target.close()


@contextmanager
def proxied(server: PostgresServer, database: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy before a database, and the database's URI through it."""
    proxy = Proxy(server.port)
    try:
        yield proxy, server.uri.rpartition("/")[0].replace(f":{server.port}", f":{proxy.port}") + f"/{database}"
    finally:
        proxy.close()
