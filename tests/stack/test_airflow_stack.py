"""The real Airflow under supervisord: its scheduler is killed in the middle of a task, and the run ends well."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasks.config import Settings, load_settings
from tasks.stack.layout import Layout
from tasks.stack.processes import marked
from tasks.stack.status import status
from tests.services import running

PATIENCE_S = 300
DAG = '''
"""Two tasks; the first of them naps, and writes down when it starts and ends."""
from pathlib import Path

from airflow.sdk import dag, task


@dag(schedule=None)
def naps():
    @task(retries=0)
    def nap():
        import subprocess, sys, os
        with Path({diary!r}).open("a") as diary:
            diary.write(f"start {{os.getpid()}}\\n")
        subprocess.run([sys.executable, "-c", "import time; time.sleep(10)"], check=True)
        with Path({diary!r}).open("a") as diary:
            diary.write(f"end {{os.getpid()}}\\n")

    @task
    def wake():
        pass

    nap() >> wake()


naps()
'''


class Api:
    """Airflow's REST API, as its generated administrator, or as a person."""

    def __init__(self, settings: Settings, username: str = "", password: str = "") -> None:
        self._http = httpx.Client(base_url=settings.airflow.url, timeout=60)
        username, password = (
            username or settings.airflow.username,
            password or settings.airflow.password.get_secret_value(),
        )
        account = {"username": username, "password": password}
        token = self._http.post("/auth/token", json=account).raise_for_status().json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str) -> dict[str, Any]:
        return dict(self._http.get(f"/api/v2{path}").raise_for_status().json())

    def trigger(self, dag_id: str) -> str:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            answer = self._http.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": {}})
            if answer.status_code == 200:
                return str(answer.json()["dag_run_id"])
            assert answer.status_code == 404, answer.text  # not parsed yet
            time.sleep(0.5)
        raise AssertionError(f"{dag_id} was not found")

    def ask_for(self, dag_id: str) -> int:
        """The status of the answer to one trigger."""
        return self._http.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": {}}).status_code


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with one DAG."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "dags").mkdir()
    (folder / "plugins").mkdir()
    (folder / "dags" / "naps.py").write_text(DAG.format(diary=str(folder / "diary")))
    return folder


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[Settings]:
    """The four processes of Airflow, on a machine that is said to have two GPUs, with two people."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTSCOPE_DEVICES", "0,1")
        patch.setenv("NIGHTSCOPE_AIRFLOW__USERS", "ana:op,ben:viewer")
        with running(tmp_path_factory.mktemp("airflow") / "state", ("airflow",), home=home) as settings:
            yield settings


def test_the_four_processes_run(airflow: Settings) -> None:
    states = {each.name: each.state for each in status(airflow.state_dir, units=("airflow",))}

    assert len(states) == 4
    assert set(states.values()) == {"running"}


def test_files_are_for_their_owner_only(airflow: Settings) -> None:
    layout = Layout.at(airflow.state_dir)

    assert layout.airflow_db.stat().st_mode & 0o777 == 0o600
    assert layout.airflow_passwords.stat().st_mode & 0o777 == 0o600


def test_the_pools_are_there(airflow: Settings) -> None:
    pools = {pool["name"]: pool["slots"] for pool in Api(airflow).get("/pools")["pools"]}

    assert (pools["gpu"], pools["lake"]) == (2, 1), "a slot for each GPU"


def test_nobody_gets_in_without_the_password(airflow: Settings) -> None:
    assert httpx.get(f"{airflow.airflow.url}/api/v2/dags", timeout=60).status_code == 401


def test_the_run_of_a_killed_scheduler_ends_well(airflow: Settings, home: Path) -> None:
    """The task has no retries left, and its first process must not run on beside the second."""
    api, diary, layout = Api(airflow), home / "diary", Layout.at(airflow.state_dir)
    run = api.trigger("naps")
    deadline = time.monotonic() + PATIENCE_S
    while not diary.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    scheduler = next(each for each in status(airflow.state_dir) if each.name == "airflow-scheduler")
    assert scheduler.pid
    before = {each.process.pid for each in marked(layout.marker, "airflow-scheduler")}
    assert len(before) > 1

    os.kill(scheduler.pid, signal.SIGKILL)

    state = "running"
    while state in ("running", "queued") and time.monotonic() < deadline:
        time.sleep(0.5)
        state = api.get(f"/dags/naps/dagRuns/{run}")["state"]
    assert state == "success"
    starts = [line.split()[1] for line in diary.read_text().splitlines() if line.startswith("start")]
    ends = [line.split()[1] for line in diary.read_text().splitlines() if line.startswith("end")]
    assert len(starts) == 2
    assert ends == starts[1:]
    assert not before & {each.process.pid for each in marked(layout.marker, "airflow-scheduler")}


def test_settings_reach_airflow(airflow: Settings) -> None:
    assert load_settings(airflow.state_dir).airflow.url == airflow.airflow.url


def test_people_log_in_under_their_own_names_and_may_what_their_role_may(airflow: Settings) -> None:
    """After the run of the killed scheduler, so that the DAG is known and no second run disturbs that one."""
    passwords = json.loads(Layout.at(airflow.state_dir).airflow_passwords.read_text())
    ana, ben = (Api(airflow, name, passwords[name]) for name in ("ana", "ben"))

    run = ana.trigger("naps")
    assert Api(airflow).get(f"/dags/naps/dagRuns/{run}")["triggering_user_name"] == "ana", "the run carries the name"
    assert ben.get("/dags/naps")["dag_id"] == "naps", "who looks sees"
    assert ben.ask_for("naps") == 403
    for name, password in (("ana", passwords["ben"]), ("ana", ""), ("eve", passwords["ana"]), ("ana", "ana")):
        answer = httpx.post(
            f"{airflow.airflow.url}/auth/token", json={"username": name, "password": password}, timeout=60
        )
        assert answer.status_code in (400, 401), name


def test_no_password_stands_in_a_log(airflow: Settings) -> None:
    layout = Layout.at(airflow.state_dir)
    passwords = json.loads(layout.airflow_passwords.read_text())

    assert {"ana", "ben", "admin"} == set(passwords)
    for log in layout.logs_dir.iterdir():
        assert not [name for name, password in passwords.items() if password in log.read_text(errors="replace")], log
