"""The MLflow server's door, alone: what passes and what does not. tests/security tries it on the real server."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.registry.door import climbs, refusal
from tasks.registry.mlflow_app import _is_inside, _is_proxied

API = "/api/2.0/mlflow"


def asked(method: str = "GET", path: str = "/", query: str = "", **headers: str) -> tuple[int, str] | None:
    """What the door says to a request."""
    named = {"host": "127.0.0.1:5500", **{name.replace("_", "-"): value for name, value in headers.items()}}
    pairs = [(name.encode(), value.encode()) for name, value in named.items()]
    scope: dict[str, Any] = {"method": method, "path": path, "query_string": query.encode(), "headers": pairs}
    return refusal(scope)


@pytest.mark.parametrize(
    "path",
    [
        "/", "/health", "/static-files/static/js/main.js", "/graphql", "/get-artifact", f"{API}/runs/create",
        f"{API}/runs/log-batch", f"{API}/experiments/search", f"{API}/registered-models/alias", f"{API}/users/current",
        f"{API}/model-versions/create", f"{API}/logged-models/m-1", f"{API}/artifacts/list",
        f"{API}/metrics/get-history",
        "/api/2.0/mlflow-artifacts/artifacts/0/gateway/x", "/api/2.0/mlflow-artifacts/presigned/0/a/model.pt",
        "/ajax-api/3.0/mlflow/server-info",
    ],
)  # fmt: skip
def test_what_we_use_passes(path: str) -> None:
    assert asked("POST", path) is None
    assert asked("POST", path, origin="http://127.0.0.1:5500", sec_fetch_site="same-origin") is None


@pytest.mark.parametrize(
    "path",
    [
        f"{API}/webhooks", "/ajax-api/2.0/mlflow/upload-artifact", "/ajax-api/2.0/mlflow/gateway-proxy", "/signup",
        "/ajax-api/2.0/mlflow/runs/create-promptlab-run", "/api/3.0/mlflow/gateway/secrets/create", "/v1/traces",
        "/gateway/x/mlflow/invocations", "/api/3.0/mlflow/scorers/register", "/ajax-api/3.0/mlflow/assistant/message",
        "/ajax-api/3.0/jobs/", "/api/3.0/mlflow/workspaces", "/api/2.0/mlflow-artifacts/mpu/create/x", "/mcp",
        "/ajax-api/2.0/mlflow/get-trace-artifact", "//", "/api/2.0/mlflow/experimentsx", "/API/2.0/mlflow/webhooks",
    ],
)  # fmt: skip
def test_what_nobody_uses_is_closed(path: str) -> None:
    refused = asked("POST", path)
    assert refused and refused[0] == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_page_may_link_here_and_nothing_else(site: str) -> None:
    assert asked(sec_fetch_site=site, sec_fetch_dest="document") is None, "a link from Airflow"
    assert asked("POST", sec_fetch_site=site, sec_fetch_dest="document")
    for method, path in (("POST", f"{API}/experiments/create"), ("GET", "/get-artifact"), ("GET", "/graphql")):
        for dest in ("document", "empty", "iframe", "image", "script"):
            assert asked(method, path, sec_fetch_site=site, sec_fetch_dest=dest)
    assert asked("GET", "/", sec_fetch_site=site, sec_fetch_dest="iframe")


@pytest.mark.parametrize("origin", ["null", "http://localhost:5500", "http://127.0.0.1", "http://127.0.0.1:55001"])
def test_another_origin_is_refused(origin: str) -> None:
    assert asked("GET", "/", origin=origin)


@pytest.mark.parametrize(
    "text", ["../x", "a/..", "%2e%2e/x", "%252e%252e%252fx", "a%5c..%5cb", "%00", "path=../..", ".."]
)
def test_ways_up_are_seen_however_they_are_written(text: str) -> None:
    assert climbs(text)
    place = f"/api/2.0/mlflow-artifacts/artifacts/0/{text}"
    refused = asked("PUT", place)
    assert refused and refused[0] == 400
    assert asked("GET", "/get-artifact", query=f"run_id=1&path={text}")


def test_names_with_dots_are_names() -> None:
    assert not climbs("a/..b/c...d/1.0..2?path=model..pt")


@pytest.mark.parametrize(
    "uri",
    [
        "runs:/abc/model", "file:///etc", "/etc", "s3://mlflow/x", "mlflow-artifacts://host/x",
        "mlflow-artifacts:/../x",
        "mlflow-artifacts:/%2e%2e/x", "mlflow-artifacts:/a\\..\\b", "mlflow-artifacts:/a?x", "mlflow-artifacts:/a#x",
        "x\nmlflow-artifacts:/x", "MLFLOW-ARTIFACTS:/x", " mlflow-artifacts:/x", "models://host/x", "models:/../x", "",
    ],
)  # fmt: skip
def test_locations_that_are_not_our_own(uri: str) -> None:
    assert not _is_inside(uri)
    assert not _is_proxied(uri)


def test_an_experiment_lies_in_no_model() -> None:
    assert _is_inside("models:/m-1") and not _is_proxied("models:/m-1")
    assert _is_proxied("mlflow-artifacts:/1/run/artifacts")
