"""A small Iceberg REST catalog over HTTP, on top of an SQL one: the endpoints that PyIceberg's client uses.

It speaks the Iceberg REST OpenAPI (config, namespaces, and creating, loading and committing tables), asks for a bearer
token, and refuses with 403 what it was told to refuse.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.catalog.rest import CreateTableRequest
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.table import CommitTableRequest, Table

from tasks.config import S3Settings
from tasks.lake.catalog import _let_readers_read
from tasks.lake.iceberg_io import store_properties

TOKEN = "a-token-of-the-rest-catalog"
_CODES = {
    NoSuchTableError: 404, NoSuchNamespaceError: 404, NamespaceAlreadyExistsError: 409,
    TableAlreadyExistsError: 409, CommitFailedException: 409,
}  # fmt: skip


@dataclass
class RestCatalog:
    """A served catalog.

    Attributes:
        uri: Where it listens.
        forbidden: Pairs of method and table, e.g. ("GET", "frames"), that are answered by 403.
        failing: Tables whose requests are answered by 503.
        asked: Method and path of each request.
    """

    uri: str
    forbidden: set[tuple[str, str]] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)


@contextmanager
def rest_catalog(folder: Path, s3: S3Settings) -> Iterator[RestCatalog]:
    """Serve a catalog on a free port of loopback until the block ends.

    Args:
        folder: For its SQLite database.
        s3: Where it writes the tables' metadata files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    backing = load_catalog(
        "served", type="sql", uri=f"sqlite:///{folder}/served.db?timeout=60", warehouse=f"s3://{s3.lake_bucket}/elsewhere",
        **{"py-io-impl": "tasks.lake.iceberg_io.StoreFileIO"}, **store_properties(s3),
    )  # fmt: skip
    _let_readers_read(backing)
    server = _Server(backing)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    def __init__(self, backing: Catalog) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.backing = backing
        self.served = RestCatalog(f"http://127.0.0.1:{self.server_port}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        self.server.served.asked.append((self.command, path))
        parts = [unquote(part) for part in path.removeprefix("/v1/").split("/")]
        try:
            self._send(*self._result(parts, body))
        except tuple(_CODES) as error:
            self._fail(_CODES[type(error)], error)

    do_GET = do_POST = do_HEAD = _answer

    def _result(self, parts: list[str], body: bytes) -> tuple[int, Any]:
        catalog, served = self.server.backing, self.server.served
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, _error(401, "NotAuthorizedException", "who are you?")
        if parts == ["config"]:
            return 200, {"defaults": {}, "overrides": {"s3.endpoint": "http://another.example"}}
        if parts == ["namespaces"]:
            name = tuple(json.loads(body)["namespace"])
            catalog.create_namespace(name)
            return 200, {"namespace": name, "properties": {}}
        namespace = tuple(parts[1].split("\x1f"))
        if len(parts) == 2:
            return (204, None) if catalog.namespace_exists(namespace) else (404, _error(404, "NoSuch", "none"))
        table = parts[3] if len(parts) > 3 else json.loads(body)["name"]
        if table in served.failing:
            return 503, _error(503, "SlowDown", "not now")
        if (self.command, table) in served.forbidden:
            return 403, _error(403, "ForbiddenException", f"{self.command} of {table} is not yours")
        if len(parts) == 3:
            wanted = CreateTableRequest.model_validate_json(body)
            identifier = (*namespace, table)
            return 200, _loaded(
                catalog.create_table(
                    identifier, wanted.table_schema, location=wanted.location, properties=wanted.properties
                )
            )
        found = catalog.load_table((*namespace, table))
        if self.command == "GET":
            return 200, _loaded(found)
        asked = CommitTableRequest.model_validate_json(body)
        done = catalog.commit_table(found, asked.requirements, asked.updates)
        return 200, json.loads(done.model_dump_json(by_alias=True))

    def _fail(self, code: int, error: Exception) -> None:
        self._send(code, _error(code, type(error).__name__, str(error)))

    def _send(self, code: int, content: Any) -> None:
        data = b"" if content is None or self.command == "HEAD" else json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _loaded(table: Table) -> dict[str, Any]:
    metadata = json.loads(table.metadata.model_dump_json(by_alias=True))
    return {"metadata-location": table.metadata_location, "metadata": metadata, "config": {}}


def _error(code: int, kind: str, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code}}
