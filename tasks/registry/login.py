"""Signing in to MLflow: a plugin of its client, so that passwords stand neither in URLs nor in the environment.

MLflow's own way is two environment variables, which every subprocess inherits and which hold for one server only.
"""

from __future__ import annotations

from typing import Any

from mlflow.tracking.request_auth.abstract_request_auth_provider import RequestAuthProvider
from requests import PreparedRequest
from requests.auth import AuthBase, HTTPBasicAuth

PROVIDER = "nightscope"
_LOGINS: dict[str, HTTPBasicAuth] = {}


def remember(url: str, username: str, password: str) -> None:
    """Sign in as this user from now on, at the server of this URL."""
    _LOGINS[_base(url)] = HTTPBasicAuth(username, password)


class Login(RequestAuthProvider):  # type: ignore[misc]
    """Found by MLflow through our entry point, and used where MLFLOW_TRACKING_AUTH names it."""

    def get_name(self) -> str:
        """Its name in MLFLOW_TRACKING_AUTH."""
        return PROVIDER

    def get_auth(self) -> Any:
        """What signs a request."""
        return _ByServer()


class _ByServer(AuthBase):
    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        url = request.url or ""
        for base, login in _LOGINS.items():
            if url.startswith(f"{base}/"):
                return login(request)
        return request


def _base(url: str) -> str:
    return url.rstrip("/")
