"""Airflow's REST API (v2), as far as we trigger and follow a run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from graphlib import TopologicalSorter
from typing import Any
from uuid import uuid4

import httpx

from tasks.config import AirflowSettings
from tasks.errors import ConfigError, NotFound, ServiceUnavailable
from tasks.schemas import now

PATIENCE_S = 180.0
"""How long a follower waits for an API server that is being restarted."""

OURS = ("tasks.", "nightscope_airflow.")
"""Loggers whose lines are for people who watch a night."""


class AirflowApi:
    """A session with one Airflow API server.

    Args:
        settings: Where it is, and as whom we speak to it.
        patience_s: How long a call is tried again while it does not answer.
    """

    def __init__(self, settings: AirflowSettings, patience_s: float = 10.0) -> None:
        if not settings.url:
            raise ConfigError(
                "Airflow: no URL in the settings", fix="run `nightscope up`, or set NIGHTSCOPE_AIRFLOW__URL"
            )
        self._settings = settings
        self._patience_s = patience_s
        self._http = httpx.Client(base_url=settings.url, timeout=30)

    def _sign_in(self) -> None:
        answer = self._http.post(
            "/auth/token",
            json={"username": self._settings.username, "password": self._settings.password.get_secret_value()},
        )
        if answer.status_code in (400, 401, 403, 422):
            raise ConfigError(
                f"Airflow at {self._settings.url} refuses the user {self._settings.username!r}",
                fix="check NIGHTSCOPE_AIRFLOW__USERNAME and NIGHTSCOPE_AIRFLOW__PASSWORD",
            )
        answer.raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def _call(self, method: str, path: str, *, patience_s: float | None = None, **kwargs: Any) -> httpx.Response:
        deadline = time.monotonic() + (self._patience_s if patience_s is None else patience_s)
        while True:
            try:
                if "Authorization" not in self._http.headers:
                    self._sign_in()
                answer = self._http.request(method, f"/api/v2{path}", **kwargs)
                if answer.status_code == 401:  # the token has expired, or the server has a new key since its restart
                    del self._http.headers["Authorization"]
                    answer.raise_for_status()
                if answer.status_code >= 500:
                    answer.raise_for_status()
                return answer
            except httpx.HTTPError as error:
                if time.monotonic() > deadline:
                    raise ServiceUnavailable(
                        f"Airflow at {self._settings.url}: {method} {path}: {error}",
                        fix="is it up? `nightscope status` tells",
                    ) from error
                time.sleep(1)

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """What is at a path below /api/v2, e.g. '/pools'.

        Raises:
            ConfigError: Our user may not see it.
            ServiceUnavailable: Airflow did not answer, or not properly.
        """
        answer = self._call("GET", path, params=params)
        if answer.status_code == 403:
            raise ConfigError(
                f"Airflow at {self._settings.url}: user {self._settings.username!r} may not see {path}",
                fix="give it the role admin, or op",
            )
        if answer.status_code != 200:
            raise ServiceUnavailable(f"Airflow at {self._settings.url}: GET {path}: {answer.status_code}")
        return dict(answer.json())

    def dag(self, dag_id: str) -> dict[str, Any]:
        """Details of a DAG, its params among them.

        Raises:
            NotFound: Airflow has not (yet) parsed such a DAG.
        """
        answer = self._call("GET", f"/dags/{dag_id}/details")
        if answer.status_code == 404:
            raise NotFound(f"Airflow has no DAG {dag_id!r}", fix="see the import errors on Airflow's home page")
        return dict(answer.json())

    def await_dag(self, dag_id: str, patience_s: float = 90.0) -> dict[str, Any]:
        """`dag`, waiting for the DAG processor's first round after a start."""
        deadline = time.monotonic() + patience_s
        while True:
            try:
                return self.dag(dag_id)
            except NotFound:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Start a run and return its id, which we choose: a request whose answer was lost starts no second night.

        Raises:
            ConfigError: Airflow refused the conf; the message is the form's own.
        """
        run_id = f"manual__{now().isoformat()}_{uuid4().hex[:6]}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        answer = self._call("POST", f"/dags/{dag_id}/dagRuns", json=body)
        if answer.status_code == 409:  # an earlier try of ours arrived
            return run_id
        if answer.status_code in (400, 422):
            complaint = str(answer.json().get("detail")).partition("\n\nFailed validating")[0].strip()
            raise ConfigError(f"{dag_id}: refused: {complaint}")
        answer.raise_for_status()
        return str(answer.json()["dag_run_id"])

    def unpause(self, dag_id: str) -> None:
        """Let the DAG run; a paused one would queue for ever."""
        self._call("PATCH", f"/dags/{dag_id}", json={"is_paused": False}).raise_for_status()

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """The run's state and times."""
        return dict(self._call("GET", f"/dags/{dag_id}/dagRuns/{run_id}", patience_s=PATIENCE_S).json())

    def task_instances(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Task id → state, start, end, try number."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found = self._call("GET", path, patience_s=PATIENCE_S, params={"limit": 200}).json()["task_instances"]
        return {instance["task_id"]: instance for instance in found}

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """A value that a task left, or None."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        answer = self._call("GET", path, patience_s=PATIENCE_S, params={"deserialize": "false"})
        return _plain(answer.json().get("value")) if answer.status_code == 200 else None

    def last_words(self, dag_id: str, run_id: str, task_id: str, try_number: int) -> str:
        """The last line that a running task of ours has logged, not Airflow itself; empty where there is none (yet)."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        answer = self._call("GET", path, patience_s=PATIENCE_S, headers={"Accept": "application/json"})
        lines = answer.json().get("content") if answer.status_code == 200 else None
        ours = [line for line in lines or [] if isinstance(line, dict) and str(line.get("logger")).startswith(OURS)]
        texts = [str(line.get("event", "")).strip() for line in ours]
        return next((text for text in reversed(texts) if text), "")

    def order(self, dag_id: str) -> list[str]:
        """Task ids, upstream first."""
        tasks = self._call("GET", f"/dags/{dag_id}/tasks").json()["tasks"]
        sorter: TopologicalSorter[str] = TopologicalSorter()
        for task in tasks:
            sorter.add(task["task_id"])
            for downstream in task["downstream_task_ids"]:
                sorter.add(downstream, task["task_id"])
        return list(sorter.static_order())

    def follow(self, dag_id: str, run_id: str, watch: Callable[[dict[str, dict[str, Any]], str], None]) -> str:
        """Wait until the run has ended; returns its state.

        Args:
            watch: Shown, about once a second, the task instances and the last line of the log of the running one.
        """
        words, asked_at = "", 0.0
        while True:
            state = str(self.run(dag_id, run_id).get("state"))
            instances = self.task_instances(dag_id, run_id)
            running = [instance for instance in instances.values() if instance["state"] == "running"]
            if running and time.monotonic() - asked_at > 5:
                words = self.last_words(dag_id, run_id, running[0]["task_id"], running[0]["try_number"])
                asked_at = time.monotonic()
            if state == "queued":
                words = "waiting for another night of this line to end"
            watch(instances, words if running or state == "queued" else "")
            if state in ("success", "failed"):
                return state
            time.sleep(0.7)


def _plain(value: Any) -> Any:
    """XCom values come as JSON text or as JSON, by their type."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value
