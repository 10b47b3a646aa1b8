"""The MLflow server behind closed doors: a login, and no storage but its own.

`mlflow server --app-name nightscope` finds `create_app` through our entry point. It is MLflow's own basic-auth app, and
around it:

- **Storage.** Whoever signs in to a plain MLflow server may make an experiment at `file:///...` and have the server
  write there, or a model version from `s3://...` and read whatever the server's key opens. Here only
  `mlflow-artifacts:` locations are accepted, and no other storage is ever opened, not even for older rows.
- **Other pages**, and **what nobody here uses** (what calls out or runs code): refused, see `tasks.registry.door`.
- **The page** opens on machine learning, not on GenAI, and may talk to nobody but this server.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tasks.registry.door import climbs, refusal

READER = "reader"
READER_PASSWORD = "NIGHTSCOPE_MLFLOW_READER_PASSWORD"
DESTINATION = "_MLFLOW_SERVER_ARTIFACT_DESTINATION"
"""Where `mlflow server` tells its workers the place of all artifacts."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_PROXIED = re.compile(r"mlflow-artifacts:/(?!/)[^?#]*")
_LOGGED = re.compile(r"models:/(?!/)[^?#]*")
_POLICY = "connect-src 'self'; form-action 'self'; frame-ancestors 'self'; base-uri 'self'; object-src 'none'"
# What a person chose stays: the page keeps it under these keys. The plain address would open a page about prompts and
# judges, and an assistant that is closed here.
_CLASSIC_PAGE = (
    b"<script>if(!localStorage.getItem('mlflow.workflowType_v1'))"
    b"localStorage.setItem('mlflow.workflowType_v1','\"machine_learning\"');"
    b"localStorage.setItem('mlflow.settings.telemetry.enabled_v1','false');"
    b"localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1','true');"
    b"if(!location.hash)history.replaceState(null,'','#/experiments');</script>"
)


def create_app() -> App:
    """MLflow's app with a login, behind our doors. Called in each worker of the server."""
    from mlflow.server.auth import create_app as with_login

    keep_to_own_storage(os.environ[DESTINATION])
    app: App = with_login()
    _set_passwords()
    return Doors(app)


def keep_to_own_storage(destination: str) -> None:
    """Have this process's MLflow accept and open `mlflow-artifacts:` locations only, and `destination` behind them.

    Args:
        destination: URI of the server's own storage, e.g. 's3://mlflow'.
    """
    from mlflow.store.artifact.artifact_repository_registry import ArtifactRepositoryRegistry
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Models
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Runs

    open_storage = ArtifactRepositoryRegistry.get_artifact_repository
    new_experiment, new_version = Runs.create_experiment, Models.create_model_version
    own = destination.rstrip("/")

    def get_artifact_repository(self: Any, artifact_uri: str, *args: Any, **kwargs: Any) -> Any:
        behind = artifact_uri.rstrip("/") == own or artifact_uri.startswith(f"{own}/")
        if not (_is_inside(artifact_uri) or (behind and not climbs(artifact_uri))):
            raise _refusal("This server opens no storage but its own", artifact_uri)
        return open_storage(self, artifact_uri, *args, **kwargs)

    def create_experiment(self: Any, name: str, artifact_location: str | None = None, *args: Any, **kwargs: Any) -> Any:
        if artifact_location and not _is_proxied(artifact_location):
            raise _refusal(f"artifact_location of the experiment {name!r}", artifact_location)
        return new_experiment(self, name, artifact_location, *args, **kwargs)

    def create_model_version(self: Any, name: str, source: str, *args: Any, **kwargs: Any) -> Any:
        if not _is_inside(source):
            raise _refusal(f"source of a version of the model {name!r}", source)
        return new_version(self, name, source, *args, **kwargs)

    ArtifactRepositoryRegistry.get_artifact_repository = get_artifact_repository
    Runs.create_experiment = create_experiment
    Models.create_model_version = create_model_version


def _is_proxied(uri: str) -> bool:
    """Whether a location leads to this server's own artifacts; one with a host would lead to another server."""
    return bool(_PROXIED.fullmatch(uri)) and not climbs(uri) and "%" not in uri


def _is_inside(uri: str) -> bool:
    """The same, or the name of a logged model, whose own location is one of these."""
    return _is_proxied(uri) or (bool(_LOGGED.fullmatch(uri)) and not climbs(uri) and "%" not in uri)


def _refusal(what: str, found: str) -> Exception:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

    message = f"{what}: expected a location below mlflow-artifacts:/, found {found[:200]!r}. Leave it out."
    error: Exception = MlflowException(message, error_code=INVALID_PARAMETER_VALUE)
    return error


def _set_passwords() -> None:
    """Our own user's password is as configured now; and the reader is there."""
    from mlflow.server.auth import auth_config, store

    wanted = {auth_config.admin_username: auth_config.admin_password, READER: os.environ.pop(READER_PASSWORD, None)}
    for name, password in wanted.items():
        if not name or not password:
            continue
        if not store.has_user(name):
            store.create_user(name, password)
        elif not store.authenticate_user(name, password):
            store.update_user(name, password=password)


class Doors:
    """Refuses requests of other pages and for what nobody here uses; completes the page."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http" and (refused := refusal(scope)):
            await _refuse(send, *refused)
        else:
            await self._app(scope, receive, _Page(send) if scope.get("path") == "/" else send)


class _Page:
    """Passes an HTML page on, with our script and policy in it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message = {}
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        body = self._body.replace(b"<head>", b"<head>" + _CLASSIC_PAGE, 1)
        kept = [pair for pair in self._start["headers"] if pair[0].lower() not in (b"content-length", b"etag")]
        own = [(b"content-length", str(len(body)).encode()), (b"content-security-policy", _POLICY.encode())]
        await self._send({**self._start, "headers": [*kept, *own, (b"cache-control", b"no-store")]})
        await self._send({"type": "http.response.body", "body": body})


async def _refuse(send: Send, status: int, why: str) -> None:
    code = "PERMISSION_DENIED" if status == 403 else "INVALID_PARAMETER_VALUE"
    body = json.dumps({"error_code": code, "message": f"Nightscope: {why}"}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
