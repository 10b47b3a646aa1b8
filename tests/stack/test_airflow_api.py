"""Triggering through Airflow's REST API, when the network is not at its best."""

from __future__ import annotations

import json

import httpx
import pytest
from pydantic import SecretStr

from tasks.config import AirflowSettings
from tasks.errors import ConfigError
from tasks.stack import airflow_api
from tasks.stack.airflow_api import AirflowApi


def _api(answer, monkeypatch: pytest.MonkeyPatch) -> AirflowApi:
    """A session with a server that signs everybody in and answers runs by `answer(body)`."""

    def serve(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "t"})
        return answer(json.loads(request.content))

    monkeypatch.setattr(airflow_api.time, "sleep", lambda _: None)
    api = AirflowApi(AirflowSettings(url="http://airflow.test", password=SecretStr("p")))
    api._http = httpx.Client(base_url="http://airflow.test", transport=httpx.MockTransport(serve))
    return api


def test_a_lost_answer_starts_no_second_night(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []

    def answer(body: dict[str, str]) -> httpx.Response:
        if body["dag_run_id"] in runs:
            return httpx.Response(409, json={"detail": "unique constraint"})
        runs.append(body["dag_run_id"])
        raise httpx.ReadTimeout("the answer was lost")

    assert [_api(answer, monkeypatch).trigger("retrain_x", {})] == runs


def test_every_trigger_is_a_run_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    api = _api(lambda body: httpx.Response(200, json={"dag_run_id": body["dag_run_id"]}), monkeypatch)
    assert api.trigger("retrain_x", {}) != api.trigger("retrain_x", {})


def test_what_the_form_refuses_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    api = _api(lambda body: httpx.Response(400, json={"detail": "epochs: 0 is less than 1"}), monkeypatch)
    with pytest.raises(ConfigError, match="epochs: 0 is less than 1"):
        api.trigger("retrain_x", {"epochs": 0})


def test_a_steps_last_words_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    logged = [
        {"event": "::group::Pre Execute", "logger": "task"},
        {"event": "epoch 2/10 step 40", "logger": "tasks.steps.train"},
        {"event": "", "logger": "tasks.steps.train"},
        {"event": "Worker startup parse complete", "logger": "task"},
        {"event": "a sentence without a logger"},
    ]

    def serve(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"content": logged, "access_token": "t"})

    api = _api(lambda body: httpx.Response(500), monkeypatch)
    api._http = httpx.Client(base_url="http://airflow.test", transport=httpx.MockTransport(serve))
    assert api.last_words("retrain_x", "run", "train_challenger", 1) == "epoch 2/10 step 40"
    logged.pop(1)
    assert api.last_words("retrain_x", "run", "train_challenger", 1) == ""
