"""What containers do before their service starts; `make production-test` runs all of it for real."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tasks.errors import ConfigError
from tasks.stack import containers


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("NIGHTSCOPE_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("NIGHTSCOPE_AIRFLOW__USERS", "ana:op,ben:viewer")
    monkeypatch.setenv("NIGHTSCOPE_AIRFLOW__PASSWORD", "of-the-stack")
    return {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(tmp_path / "people" / "passwords.json")}


def test_people_keep_the_password_that_was_made_for_them(environ: dict[str, str], tmp_path: Path) -> None:
    containers.airflow_passwords(environ)
    path = tmp_path / "people" / "passwords.json"
    first = json.loads(path.read_text())
    assert set(first) == {"admin", "ana", "ben"} and first["admin"] == "of-the-stack"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    containers.airflow_passwords(environ)
    assert json.loads(path.read_text()) == first


def test_no_container_starts_with_an_empty_password(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSCOPE_AIRFLOW__PASSWORD", "")
    with pytest.raises(ConfigError, match="NIGHTSCOPE_AIRFLOW__PASSWORD"):
        containers.airflow_passwords(environ)


@pytest.mark.parametrize("slots", ["", "0", "two"])
def test_a_pool_without_slots_is_refused(slots: str) -> None:
    with pytest.raises(ConfigError, match=containers.GPU_SLOTS):
        containers.airflow_pools({containers.GPU_SLOTS: slots})


def test_what_a_container_was_not_told_is_named() -> None:
    with pytest.raises(ConfigError, match="MLFLOW_AUTH_CONFIG_PATH"):
        containers.mlflow({})
