"""The door of the MLflow server: who may ask, and for what. No MLflow in it; the login is MLflow's own, behind this.

MLflow trusts every page of this machine (`Origin: http://localhost:*`) and has many ways in that nobody here uses:
gateways, webhooks, jobs, prompts, traces, an assistant. What we use, and what its classic pages need, is a short list:
nothing else gets through.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

_OPEN = re.compile(
    r"/|/health|/version|/favicon\.ico|/static-files/.*|/graphql|/get-artifact|/model-versions/get-artifact"
    r"|/(?:ajax-)?api/2\.0/mlflow-artifacts/(?:artifacts|presigned)(?:/.*)?"
    r"|/(?:ajax-)?api/[23]\.0/mlflow/"
    r"(?:experiments|metrics|artifacts/list|model-versions|registered-models|logged-models|users|roles)(?:/.*)?"
    r"|/(?:ajax-)?api/2\.0/mlflow/runs/(?!create-promptlab).*"
    r"|/(?:ajax-)?api/3\.0/mlflow/(?:server-info|ui-telemetry)"
)
_READS = frozenset({"GET", "HEAD"})

_MOST_DECODED = 10


def refusal(scope: Mapping[str, Any]) -> tuple[int, str] | None:
    """Status and words for an HTTP request (its ASGI scope) that must not pass; None for one that may."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    path, method = str(scope["path"]), str(scope["method"])
    if _foreign(headers, method, path):
        return 403, "requests from other pages are refused"
    if climbs(path) or climbs(scope.get("query_string", b"").decode("latin-1")):
        return 400, "a path must not hold '..'"
    if not _OPEN.fullmatch(path):
        return 403, "this part of MLflow is switched off by Nightscope"
    return None


def climbs(text: str) -> bool:
    """Whether a path, a query or an address leads up, or hides a NUL, however often it was encoded."""
    for _ in range(_MOST_DECODED):
        if (plain := unquote(text)) == text:
            break
        text = plain
    else:  # nobody encodes a path so often for a good reason, and each round costs everybody's time
        return True
    return any(part == ".." for part in re.split(r"[/\\=&:]", text)) or "\0" in text


def _foreign(headers: Mapping[str, str], method: str, path: str) -> bool:
    """Whether a page of another origin asks. Another port of this machine is another origin."""
    own = {f"{scheme}://{headers.get('host', '')}" for scheme in ("http", "https")}
    if "origin" in headers and headers["origin"] not in own:
        return True
    elsewhere = headers.get("sec-fetch-site", "none") in {"cross-site", "same-site"}
    # Following a link from Airflow or a report to the pages is fine; a request by script, frame or form is not.
    follows = method in _READS and headers.get("sec-fetch-dest") == "document" and path == "/"
    return elsewhere and not follows
