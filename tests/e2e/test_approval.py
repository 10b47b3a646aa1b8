"""A night that waits for a person, on a real Airflow: approved, held for want of an answer, and taken back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasks import evidence
from tasks.config import HOME, Settings
from tasks.lake import open_lake
from tasks.operations.who import os_user
from tasks.registry import open_registry
from tests import waiting
from tests.promotion.promoting import Scene
from tests.services import running

ASKED, UNANSWERED = "asked-line", "unanswered-line"
NOBODYS_PATIENCE_H = 4 / 3600
until = partial(waiting.until, patience_s=120)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Airflow with the DAGs of promotion and rollback and `tests.e2e.endings` for two lines that ask, MLflow, S3."""
    home, lines = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("lines")
    (home / "plugins").symlink_to(HOME / "plugins")
    (home / "dags").mkdir()
    for source in ("dags/promote.py", "dags/rollback.py", "tests/e2e/endings.py"):
        (home / "dags" / Path(source).name).write_text((HOME / source).read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTSCOPE_LINES_DIR", str(lines))
        for name, plan in ((ASKED, {"assigned_to": ["admin"]}), (UNANSWERED, {"timeout_h": NOBODYS_PATIENCE_H})):
            Scene.configured(name, lines, approval={"required": True, **plan})
        with running(tmp_path_factory.mktemp("stack"), ("s3", "mlflow", "airflow"), home=home) as settings:
            patch.setenv("NIGHTSCOPE_STATE_DIR", str(settings.state_dir))
            yield settings


@pytest.fixture(scope="module")
def airflow(stack: Settings) -> Iterator[httpx.Client]:
    """Airflow's API, signed in."""
    with httpx.Client(base_url=stack.airflow.url, timeout=60, trust_env=False) as client:
        password = stack.airflow.password.get_secret_value()
        signed_in = client.post("/auth/token", json={"username": stack.airflow.username, "password": password})
        client.headers["Authorization"] = f"Bearer {signed_in.json()['access_token']}"
        yield client


def _scene(stack: Settings, name: str, folder: Path) -> Scene:
    return Scene(name, open_lake(stack), open_registry(stack), folder)


A_PERSONS_LOOK_S = 5
"""An answer in the second of the question reaches Airflow's scheduler before it has heard that the task paused: it
takes the task that goes on for one that was lost, and asks again. Nobody reads a report so fast."""


class Command:
    """`nightscope ...` as a script runs it."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._errors = folder / "stderr.txt"
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tasks", *arguments, "--json"], cwd=HOME, env=dict(os.environ),
                stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip

    def said(self) -> str:
        """What it has said on its way; it must be under way still."""
        assert self._process.poll() is None, self._errors.read_text()
        return self._errors.read_text()

    def ended(self) -> tuple[Any, str]:
        """Its document and what it said on its way."""
        output, _ = self._process.communicate(timeout=240)
        errors = self._errors.read_text()
        assert self._process.returncode == 0, f"exit code {self._process.returncode}\n{output}\n{errors}"
        return json.loads(output), errors


def test_a_person_approves_and_takes_it_back(stack: Settings, airflow: httpx.Client, tmp_path: Path) -> None:
    scene = _scene(stack, ASKED, tmp_path)
    version = scene.version().version
    verdict_id = scene.verdict(version, None)
    night = Command(tmp_path, "run", ASKED, "--set", "note=the run's, not the person's")
    until(lambda: "waiting for a person's approval" in night.said())
    runs = "/api/v2/dags/retrain_asked_line/dagRuns"
    (run,) = airflow.get(runs).json()["dag_runs"]
    task = f"{runs}/{run['dag_run_id']}/taskInstances/approve_promotion"
    assert airflow.get(task).json()["state"] == "awaiting_input"
    question = airflow.get(f"{task}/-1/hitlDetails").json()
    assert question["options"] == ["Approve", "Hold"] and question["defaults"] == ["Hold"]
    assert question["assigned_users"] == [{"id": "admin", "name": "admin"}]
    assert f"version {version} take charge as its first champion" in question["subject"]
    report = f"/nightscope/verdicts/{verdict_id}/report"
    assert f"({stack.airflow.url}{report})" in question["body"] and "0.900 (0.850 to 0.950, 95%)" in question["body"]
    assert scene.registry.champion(ASKED) is None

    said = {"chosen_options": ["Approve"], "params_input": {"note": "looked at every frame"}}
    time.sleep(A_PERSONS_LOOK_S)
    airflow.patch(f"{task}/-1/hitlDetails", json=said).raise_for_status()
    told, progress = night.ended()

    assert (told["state"], told["approval"]["by"]) == ("promoted", "airflow:admin"), told
    assert progress.count("waiting for a person's approval") == 1 and "required_actions" in progress
    assert report in progress
    entry = evidence.find(scene.lake, ASKED, "night", verdict_id)
    assert entry is not None and (entry.by, entry.note) == ("airflow:admin", "looked at every frame")
    assert scene.champion() == (version, None)

    _page(stack, airflow, report)
    _orders(airflow, scene, version, tmp_path)


def _page(stack: Settings, airflow: httpx.Client, report: str) -> None:
    """The report's page: for whoever is signed in, by token or by the browser's cookie."""
    shown = airflow.get(report)
    assert shown.status_code == 200 and shown.text == "<html>report</html>"
    assert "default-src 'none'" in shown.headers["content-security-policy"]
    assert "script-src" not in shown.headers["content-security-policy"]
    assert shown.headers["x-content-type-options"] == "nosniff"
    missing = airflow.get("/nightscope/verdicts/abc123/report")
    assert missing.status_code == 404 and "there is none of that id" in missing.text
    assert airflow.get("/nightscope/verdicts/..%2f..%2fx/report").status_code == 404
    token = airflow.headers["Authorization"].removeprefix("Bearer ")
    with httpx.Client(base_url=stack.airflow.url, trust_env=False) as browser:
        assert browser.get(report).status_code == 401
        assert browser.get("/nightscope/openapi.json").status_code in (401, 404)
        browser.cookies.set("_token", token)
        assert browser.get(report).status_code == 200


def _orders(airflow: httpx.Client, scene: Scene, first: str, folder: Path) -> None:
    """A promotion and a rollback by their DAGs and by command: who did it stands in the evidence."""
    second = scene.version().version
    conf = {"line": ASKED, "version": second, "note": "by eye"}
    assert _order(airflow, "promote", conf) == "failed", "no verdict, no override"
    assert scene.champion() == (first, None)
    assert _order(airflow, "promote", {**conf, "override": True}) == "success"
    assert scene.champion() == (second, first)
    assert _order(airflow, "rollback", {"line": ASKED}) == "success"
    assert scene.champion() == (first, second)
    told, _ = Command(folder, "rollback", ASKED, "--note", "and back").ended()
    assert (told["before"], told["model_version"]) == (first, second)
    assert told["undo"] == f"nightscope rollback {ASKED} --to {first}"
    found = evidence.entries(scene.lake, ASKED)
    assert [entry.action for entry in found[1:3]] == ["promotion", "rollback"]
    assert {(entry.by, entry.signature is not None) for entry in found[1:3]} == {("airflow:admin", True)}
    assert told["by"] == os_user()
    listed, _ = Command(folder, "verdicts", ASKED).ended()
    assert listed[0]["outcome"]["state"] == "rolled_back" and listed[0]["outcome"]["by"] == told["by"]


def _order(airflow: httpx.Client, dag_id: str, conf: dict[str, Any]) -> str:
    runs = f"/api/v2/dags/{dag_id}/dagRuns"
    until(lambda: airflow.get(f"/api/v2/dags/{dag_id}").status_code == 200)
    made = airflow.post(runs, json={"logical_date": None, "conf": conf})
    assert made.status_code == 200, made.text
    run = f"{runs}/{made.json()['dag_run_id']}"
    return str(until(lambda: (state := airflow.get(run).json()["state"]) in ("success", "failed") and state))


def test_no_answer_in_time_is_a_hold(stack: Settings, tmp_path: Path) -> None:
    scene = _scene(stack, UNANSWERED, tmp_path)
    verdict_id = scene.verdict(scene.version().version, None)
    told, _ = Command(tmp_path, "run", UNANSWERED).ended()
    assert told["state"] == "held" and "nobody answered within" in told["reason"], told
    assert (told["approval"]["approved"], told["approval"]["by"]) == (False, None)
    entry = evidence.find(scene.lake, UNANSWERED, "night", verdict_id)
    assert entry is not None and entry.outcome == "held" and "nobody answered" in entry.note
    assert scene.registry.champion(UNANSWERED) is None

    again, _ = Command(tmp_path, "run", UNANSWERED).ended()
    assert again["state"] == "held" and again["approval"] is None, "what was decided is not asked again"
