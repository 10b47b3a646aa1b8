"""The whole embedded stack: it is found well; then Airflow, MLflow and Label Studio are broken, one thing at a time."""

from __future__ import annotations

import json
import os

import httpx
import pytest

from tasks.config import Settings, dag_id_of, load_settings
from tasks.labeling import state
from tasks.labeling.client import LabelStudio
from tasks.lake import open_lake
from tasks.operations.doctor import Patient, airflow, examine
from tasks.registry import open_registry
from tasks.stack.airflow_api import AirflowApi
from tests.operations.doctor.conftest import look
from tests.operations.doctor.test_machine import only
from tests.waiting import until

LINES = {"cell-segmenter", "fetal-ultrasound", "sperm-detector", "sperm-morphology"}


@pytest.fixture(autouse=True)
def _no_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("NIGHTSCOPE_")]:
        monkeypatch.delenv(name)


def test_a_healthy_installation_comes_out_clean(whole: Settings) -> None:
    api = AirflowApi(whole.airflow)
    wanted = {dag_id_of("retrain", line) for line in LINES}
    until(lambda: wanted <= {each["dag_id"] for each in api.get("/dags", limit=100)["dags"]}, 180)
    before = sorted(path for path in whole.state_dir.glob("*"))
    checkup = examine(Patient(whole.state_dir, os.environ))
    assert [each for each in checkup.findings if each.state != "ok"] == []
    assert checkup.healthy
    assert secrets_in(checkup.model_dump_json(), whole) == []
    looked = {each.check.partition(".")[0] for each in checkup.findings}
    assert looked >= {"settings", "state", "programs", "services", "s3", "airflow", "mlflow", "label-studio", "lines"}
    assert sorted(path for path in whole.state_dir.glob("*") if path.name != "locks") == [
        path for path in before if path.name != "locks"
    ]


def secrets_in(text: str, whole: Settings) -> list[str]:
    secrets = json.loads((whole.state_dir / "stack/secrets.json").read_text())
    return [name for name, value in secrets.items() if value in text]


def test_no_secret_is_shown(whole: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSCOPE_MLFLOW__URL", f"{whole.mlflow.url}/nowhere")
    monkeypatch.setenv("NIGHTSCOPE_S3__SECRET_KEY", "a-secret-that-is-wrong")
    text = str(look(whole.state_dir, "settings", "services", "s3", "airflow", "mlflow", "label-studio", "nights"))
    assert "wrong" in text and "a-secret-that-is-wrong" not in text
    assert secrets_in(text, whole) == []


def test_airflow_that_refuses_our_password(whole: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSCOPE_AIRFLOW__PASSWORD", "another-password")
    assert "refuses the user 'admin'" in only(whole.state_dir, "airflow.login", "wrong")
    assert {each.state for each in look(whole.state_dir, "airflow.pools")} == {"unknown"}


def test_a_dag_file_that_cannot_be_read(whole: Settings) -> None:
    path = whole.state_dir.parent / "home/dags/broken.py"
    path.write_text("import airflow  # a DAG's file, by these two words\nraise ValueError('a fault of this file')\n")
    try:
        until(lambda: any(each.state == "wrong" for each in look(whole.state_dir, "airflow.imports")), 120)
        assert "a fault of this file" in only(whole.state_dir, "airflow.imports", "wrong")
    finally:
        path.unlink()


def test_pools_that_are_gone_or_too_large(whole: Settings) -> None:
    api = AirflowApi(whole.airflow)
    api._call("DELETE", "/pools/lake").raise_for_status()
    assert "there is no pool 'lake'" in only(whole.state_dir, "airflow.pools", "wrong")
    api._call("POST", "/pools", json={"name": "lake", "slots": 3})
    assert "'lake' has 3 slots, not 1" in only(whole.state_dir, "airflow.pools", "warning")


def test_nights_that_are_paused(whole: Settings) -> None:
    api = AirflowApi(whole.airflow)
    api._call("PATCH", "/dags/retrain_sperm_detector", json={"is_paused": True})
    assert "line sperm-detector: its nights are paused" in only(whole.state_dir, "airflow.nights", "warning")
    api.unpause("retrain_sperm_detector")


def test_a_night_that_did_not_come(whole: Settings) -> None:
    """As Airflow's answer has it when its scheduler stands still."""
    api = AirflowApi(whole.airflow)
    line = Patient(whole.state_dir, os.environ).session.line("sperm-detector")
    dag = api.get("/dags/retrain_sperm_detector")
    assert airflow._night(api, line, dag).state == "ok"
    late = airflow._night(api, line, {**dag, "next_dagrun_run_after": "2026-01-02T03:04:00Z"})
    assert late.state == "wrong" and "its night of 2026-01-02T03:04 did not come" in late.found
    assert airflow._night(api, line, None).state == "wrong"


def test_mlflows_users(whole: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    own = whole.mlflow
    admin = (own.username, own.password.get_secret_value())
    update = f"{own.url}/api/2.0/mlflow/users/update-admin"
    for granted, state_ in ((True, "wrong"), (False, "ok")):
        httpx.patch(update, json={"username": "reader", "is_admin": granted}, auth=admin).raise_for_status()
        only(whole.state_dir, "mlflow.reader", state_)
    monkeypatch.setenv("NIGHTSCOPE_MLFLOW__PASSWORD", "another-password")
    assert "refuses user 'nightscope'" in only(whole.state_dir, "mlflow.login", "wrong")


def test_an_alias_on_a_version_that_is_not_ours(whole: Settings) -> None:
    registry = open_registry(whole)
    client = registry.client
    run = client.create_run(client.create_experiment("by-hand"))
    client.create_registered_model("sperm-detector")
    version = client.create_model_version("sperm-detector", f"{run.info.artifact_uri}/model", run.info.run_id)
    client.set_registered_model_alias("sperm-detector", "champion", version.version)
    assert "without a verdict of ours" in only(whole.state_dir, "mlflow.aliases", "wrong")
    client.delete_registered_model("sperm-detector")
    only(whole.state_dir, "mlflow.aliases", "ok")


def test_label_studio_without_our_token_or_our_projects(whole: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = open_lake(load_settings(whole.state_dir))
    state.save(lake, "sperm-detector", state.SyncState(project_id=4711))
    assert "its project 4711 is gone" in only(whole.state_dir, "label-studio.projects", "wrong")
    with LabelStudio(whole.label_studio) as client:
        made = client.create_project("by hand", "", "<View><Image name='image' value='$image'/></View>")
        state.save(lake, "sperm-detector", state.SyncState(project_id=made))
        client.import_tasks(made, [{"data": {"image": "s3://frames/ab/abcd"}}])
        assert "annotators see no pictures" in only(whole.state_dir, "label-studio.projects", "wrong")
        client.create_s3_storage(made, title="frames", bucket="frames", region_name="us-east-1", presign=True)
        found = look(whole.state_dir, "label-studio.projects")
        assert {each.state for each in found} == {"ok"}
    monkeypatch.setenv("NIGHTSCOPE_LABEL_STUDIO__TOKEN", "0" * 40)
    assert "refuses our access token" in only(whole.state_dir, "label-studio.token", "wrong")
