"""What could once be done to MLflow from its port, tried again: nobody without a login, no storage but its own."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasks.config import Settings
from tasks.lake import Lake
from tasks.stack.layout import Layout

API = "/api/2.0/mlflow"


@pytest.fixture(scope="module")
def admin(services: Settings) -> Iterator[httpx.Client]:
    """Signed in as our own user, who may do most."""
    login = (services.mlflow.username, services.mlflow.password.get_secret_value())
    with httpx.Client(base_url=services.mlflow.url, auth=login, timeout=60) as client:
        yield client


def _run(admin: httpx.Client, experiment: str) -> dict[str, Any]:
    answer = admin.post(f"{API}/runs/create", json={"experiment_id": experiment})
    run: dict[str, Any] = answer.json()["run"]["info"]
    return run


def test_nobody_without_a_login(services: Settings) -> None:
    for method, path in (
        ("GET", "/"), ("POST", f"{API}/experiments/search"), ("POST", f"{API}/experiments/create"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts"), ("PUT", "/api/2.0/mlflow-artifacts/artifacts/1/a"),
        ("GET", "/get-artifact?run_id=1&path=a"), ("POST", "/graphql"), ("POST", "/v1/traces"),
        ("POST", "/ajax-api/2.0/mlflow/upload-artifact?run_uuid=1&path=a"),
    ):  # fmt: skip
        for login in (None, ("admin", "password1234"), ("nightscope", ""), ("reader", "reader")):
            answer = httpx.request(method, f"{services.mlflow.url}{path}", auth=login, json={}, timeout=30)
            assert answer.status_code in (401, 403), (method, path, login, answer.status_code)
    assert httpx.get(f"{services.mlflow.url}/health").status_code == 200, "all it says is that it is up"


@pytest.mark.parametrize("location", ["file://{folder}", "{folder}", "s3://lake/x", "http://127.0.0.1:1/x",
                                      "mlflow-artifacts://127.0.0.1:1/x", "mlflow-artifacts:/../lake", "dbfs:/x",
                                      "mlflow-artifacts:/%2e%2e/lake", "s3://landing", "FILE://{folder}", "runs:/abc",
                                      "models:/m-1", "ftp://127.0.0.1/x", "mlflow-artifacts:/a/%252e%252e/%2e%2e/lake",
                                      "mlflow-artifacts:/a?b"])  # fmt: skip
def test_an_experiment_elsewhere_is_refused(admin: httpx.Client, tmp_path: Path, location: str) -> None:
    place = location.format(folder=tmp_path)
    for body in ({"name": place, "artifact_location": place}, {"name": place, "artifactLocation": place}):
        answer = admin.post(f"{API}/experiments/create", json=body)
        assert answer.status_code == 400 and re.search("artifact.location", answer.text, re.IGNORECASE)
        old_client = admin.post(f"{API}/experiments/create", json=json.dumps(body))  # JSON in a JSON text
        assert old_client.status_code == 400
    assert not list(tmp_path.iterdir())


def test_an_experiment_that_an_older_server_made_elsewhere_opens_nothing(
    services: Settings, admin: httpx.Client, tmp_path: Path
) -> None:
    experiment = admin.post(f"{API}/experiments/create", json={"name": "old"}).json()["experiment_id"]
    with sqlite3.connect(Layout.at(services.state_dir).mlflow_db) as database:  # as it stood before the upgrade
        database.execute(
            "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (f"file://{tmp_path}", experiment)
        )
    run = _run(admin, experiment)
    assert run["artifact_uri"].startswith("file:")
    (tmp_path / run["run_id"] / "artifacts").mkdir(parents=True)
    (tmp_path / run["run_id"] / "artifacts" / "secret").write_text("secret")
    query = f"run_uuid={run['run_id']}&path=planted.py"
    assert admin.post(f"/ajax-api/2.0/mlflow/upload-artifact?{query}", content=b"x").status_code >= 400
    assert not list(tmp_path.rglob("planted.py"))
    got = admin.get(f"/get-artifact?run_id={run['run_id']}&path=secret")
    assert got.status_code >= 400 and got.text != "secret"
    listed = admin.get(f"{API}/artifacts/list?run_id={run['run_id']}")
    assert listed.status_code >= 400


@pytest.mark.parametrize("source", ["s3://lake/{key}", "s3://lake/blobs", "file:///etc", "/etc", "s3://mlflow/../lake",
                                    "http://127.0.0.1:1/x", "mlflow-artifacts://127.0.0.1:1/x", "runs:/abc/model",
                                    "mlflow-artifacts:/../lake", "x\nmlflow-artifacts:/x"])  # fmt: skip
def test_a_model_from_elsewhere_is_refused(admin: httpx.Client, lake: Lake, source: str) -> None:
    recording = lake.blobs.put_bytes(b"a recording of a patient")
    admin.post(f"{API}/registered-models/create", json={"name": "model"})
    place = source.format(key=lake.blobs.key(recording))
    answer = admin.post(f"{API}/model-versions/create", json={"name": "model", "source": place})
    assert answer.status_code == 400, answer.text


def test_a_model_version_of_an_older_server_opens_nothing(services: Settings, admin: httpx.Client, lake: Lake) -> None:
    recording = lake.blobs.put_bytes(b"a recording of a patient")
    experiment = admin.post(f"{API}/experiments/create", json={"name": "source"}).json()["experiment_id"]
    run = _run(admin, experiment)
    admin.post(f"{API}/registered-models/create", json={"name": "older"})
    body = {"name": "older", "source": f"{run['artifact_uri']}/model", "run_id": run["run_id"]}
    made = admin.post(f"{API}/model-versions/create", json=body)
    assert made.status_code == 200, made.text
    folder = f"s3://lake/{lake.blobs.key(recording).rpartition('/')[0]}"
    with sqlite3.connect(Layout.at(services.state_dir).mlflow_db) as database:
        database.execute(
            "UPDATE model_versions SET source = ?, storage_location = ? WHERE name = 'older'", (folder,) * 2
        )
    got = admin.get(f"/model-versions/get-artifact?name=older&version=1&path={recording}")
    assert got.status_code >= 400 and b"patient" not in got.content


@pytest.mark.parametrize("place", ["s3://lake/{folder}", "{state}/stack", "file://{state}",
                                   "s3://mlflow/../lake/{folder}", "mlflow-artifacts:/../lake/{folder}", "runs:/{run}",
                                   "http://127.0.0.1:1/x"])  # fmt: skip
def test_a_run_whose_address_in_the_database_was_changed_opens_nothing(
    services: Settings, admin: httpx.Client, lake: Lake, place: str
) -> None:
    recording = lake.blobs.put_bytes(b"a recording of a patient")
    experiment = admin.post(f"{API}/experiments/create", json={"name": place}).json()["experiment_id"]
    run = _run(admin, experiment)["run_id"]
    folder = lake.blobs.key(recording).rpartition("/")[0]
    address = place.format(folder=folder, state=services.state_dir, run=run)
    with sqlite3.connect(Layout.at(services.state_dir).mlflow_db) as database:
        database.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (address, run))
    for name in (recording, "secrets.json", "stack/secrets.json", "settings.env"):
        got = admin.get("/get-artifact", params={"run_id": run, "path": name})
        assert got.status_code >= 400 and b"patient" not in got.content and b"s3_secret_key" not in got.content, name
    listed = admin.get(f"{API}/artifacts/list", params={"run_id": run})
    assert listed.status_code >= 400 or not listed.json().get("files"), listed.text


@pytest.mark.parametrize("climb", ["..%2fsecrets", "..%2f..%2flake", "%252e%252e/lake", "a/..%5c..%5clake", "%00"])
def test_nobody_climbs_out_of_the_artifacts(services: Settings, admin: httpx.Client, climb: str) -> None:
    address = httpx.URL(f"{services.mlflow.url}/api/2.0/mlflow-artifacts/artifacts/0/{climb}")
    assert admin.get(address).status_code >= 400
    assert admin.put(address, content=b"planted").status_code >= 400
    assert admin.get("/api/2.0/mlflow-artifacts/artifacts", params={"path": "../.."}).status_code >= 400
    assert admin.get(f"/api/2.0/mlflow-artifacts/presigned/{climb}").status_code >= 400


def test_a_form_or_script_of_another_page_is_refused_and_a_link_is_not(admin: httpx.Client) -> None:
    for site in ("cross-site", "same-site"):
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
        made = admin.post(f"{API}/experiments/create", json={"name": "forged"}, headers=headers)
        assert made.status_code == 403
        link = admin.get(
            "/", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        )
        assert link.status_code == 200, "from Airflow, or from a report"
    assert admin.get(f"{API}/experiments/get-by-name?experiment_name=forged").status_code == 404


def test_another_name_of_this_machine_is_refused(admin: httpx.Client) -> None:
    """DNS rebinding: a stranger's name that leads to 127.0.0.1."""
    answer = admin.get(f"{API}/experiments/get?experiment_id=0", headers={"Host": "evil.example"})
    assert answer.status_code == 403


def test_pages_of_other_ports_are_refused(services: Settings, admin: httpx.Client) -> None:
    body = {"name": "from a page"}
    for origin in (
        "http://localhost:1234",
        "http://127.0.0.1:1234",
        "http://localhost",
        "null",
        "https://evil.example",
    ):
        answer = admin.post(f"{API}/experiments/create", json=body, headers={"Origin": origin})
        assert answer.status_code == 403, origin
        assert "access-control-allow-origin" not in answer.headers
    assert admin.get(f"{API}/experiments/get-by-name?experiment_name=from a page").status_code == 404
    own = admin.post(f"{API}/experiments/create", json=body, headers={"Origin": services.mlflow.url})
    assert own.status_code == 200, "its own page"


def test_the_reader_reads_and_changes_nothing(services: Settings, admin: httpx.Client) -> None:
    reader = ("reader", services.mlflow.reader_password.get_secret_value())
    experiment = admin.post(f"{API}/experiments/create", json={"name": "to read"}).json()["experiment_id"]
    run = _run(admin, experiment)
    with httpx.Client(base_url=services.mlflow.url, auth=reader, timeout=60) as client:
        assert client.get(f"{API}/runs/get?run_id={run['run_id']}").status_code == 200
        tag = {"run_id": run["run_id"], "key": "a", "value": "b"}
        assert client.post(f"{API}/runs/set-tag", json=tag).status_code == 403
        alias = {"name": "model", "alias": "champion", "version": "1"}
        assert client.post(f"{API}/registered-models/alias", json=alias).status_code == 403
        assert client.delete(f"{API}/experiments/delete?experiment_id={experiment}").status_code in (403, 405)
        password = {"username": "nightscope", "password": "another-password-1"}
        assert client.patch("/api/2.0/mlflow/users/update-password", json=password).status_code == 403


def test_what_calls_out_or_runs_code_is_switched_off(admin: httpx.Client) -> None:
    for path in ("/api/2.0/mlflow/webhooks", "/ajax-api/2.0/mlflow/gateway-proxy", "/gateway/x/mlflow/invocations",
                 "/ajax-api/3.0/mlflow/assistant/config", "/ajax-api/3.0/jobs",
                 "/ajax-api/2.0/mlflow/runs/create-promptlab-run", "/v1/traces", "/ajax-api/2.0/mlflow/upload-artifact",
                 "/api/3.0/mlflow/gateway/secrets/create", "/api/3.0/mlflow/scorers/register",
                 "/ajax-api/3.0/mlflow/assistant/message", "/ajax-api/3.0/jobs/", "/api/3.0/mlflow/workspaces",
                 "/api/2.0/mlflow-artifacts/mpu/create/x", "/ajax-api/2.0/mlflow/get-trace-artifact"):  # fmt: skip
        assert admin.post(path, json={}).status_code == 403, path
    assert admin.put("/api/2.0/mlflow-artifacts/artifacts/0/gateway/x", content=b"x").status_code == 200, "only a name"


def test_files_are_for_their_owner_only(services: Settings) -> None:
    layout = Layout.at(services.state_dir)
    for path in (layout.mlflow_auth_db, layout.mlflow_db, layout.secrets_file, layout.settings_env):
        assert path.stat().st_mode & 0o077 == 0, path
    for folder in (layout.state_dir, layout.temporary_dir, *(layout.s3_root(name) for name in ("s3", "s3-mlflow"))):
        assert folder.stat().st_mode & 0o077 == 0, folder
