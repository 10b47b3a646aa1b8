"""The table of services: lean, on loopback, marked, and with nothing secret on a command line."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tasks.config import Settings, load_settings
from tasks.errors import ConfigError, StackError
from tasks.stack import airflow, s3, services
from tasks.stack.layout import Layout
from tasks.stack.secrets import Secrets, load_or_create
from tasks.stack.service import Service
from tasks.stack.settings_file import with_embedded

PORTS = {
    "s3": 9000, "s3-landing": 9001, "s3-mlflow": 9002, "s3-frames": 9003,
    "mlflow": 5500, "label-studio": 8081, "airflow": 8080,
}  # fmt: skip


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    path = tmp_path / "label-studio"
    path.touch(mode=0o700)
    return path


@pytest.fixture
def secrets(layout: Layout) -> Secrets:
    return load_or_create(layout)


@pytest.fixture
def settings(layout: Layout, secrets: Secrets) -> Settings:
    return with_embedded(load_settings(layout.state_dir), PORTS, secrets)


@pytest.fixture
def table(layout: Layout, settings: Settings, secrets: Secrets, binary: Path) -> dict[str, Service]:
    environ = {"NIGHTSCOPE_LABEL_STUDIO_BIN": str(binary), "NIGHTSCOPE_WORKERS": "3", "EDITOR": "vi"}
    found = services.table(layout, settings, secrets, PORTS, services.UNITS, environ, home=Path("/opt/nightscope"))
    return {each.name: each for each in found}


def test_airflow_is_four_processes_and_not_standalone(table: dict[str, Service]) -> None:
    assert list(table) == [
        "s3",
        "s3-landing",
        "s3-mlflow",
        "s3-frames",
        "mlflow",
        "label-studio",
        "airflow-api-server",
        "airflow-scheduler",
        "airflow-dag-processor",
        "airflow-triggerer",
    ]
    assert "standalone" not in table["airflow-scheduler"].command


def test_no_secret_stands_on_a_command_line(table: dict[str, Service], secrets: Secrets) -> None:
    said = " ".join(part for each in table.values() for part in each.command)

    assert not [name for name, value in asdict(secrets).items() if value in said]


def test_no_secret_is_shown(table: dict[str, Service], secrets: Secrets) -> None:
    assert not [name for name, value in asdict(secrets).items() if value in repr(table)]


def test_every_service_carries_the_marks(layout: Layout, table: dict[str, Service]) -> None:
    for name, each in table.items():
        assert each.environment["NIGHTSCOPE_STACK"] == layout.marker
        assert each.environment["NIGHTSCOPE_SERVICE"] == name
        assert each.environment["NIGHTSCOPE_STATE_DIR"] == str(layout.state_dir)
        assert each.environment["NIGHTSCOPE_WORKERS"] == "3"
        assert "EDITOR" not in each.environment


def test_everything_listens_on_loopback_only(table: dict[str, Service]) -> None:
    for name in s3.SERVICES:
        assert f"127.0.0.1:{PORTS[name]}" in table[name].command
    for name in ("mlflow", "label-studio"):
        assert "127.0.0.1" in table[name].command
    assert table["airflow-api-server"].environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    for name in ("airflow-scheduler", "airflow-triggerer"):
        assert "--skip-serve-logs" in table[name].command


def test_s3_is_never_anonymous(table: dict[str, Service], secrets: Secrets) -> None:
    keys = {name: table[name].environment["RCLONE_AUTH_KEY"] for name in s3.SERVICES}

    assert keys["s3"] == f'"{secrets.s3_access_key},{secrets.s3_secret_key}"'
    assert len(set(keys.values())) == 4


def test_each_service_holds_the_keys_it_needs(table: dict[str, Service], secrets: Secrets) -> None:
    def holders(secret: str) -> set[str]:
        return {name for name, each in table.items() if any(secret in value for value in each.environment.values())}

    assert holders(secrets.s3_secret_key) == {"s3"}
    assert holders(secrets.s3_landing_secret_key) == {"s3-landing"}
    assert holders(secrets.s3_mlflow_secret_key) == {"s3-mlflow", "mlflow"}
    assert holders(secrets.s3_frames_secret_key) == {"s3-frames", "label-studio"}
    assert "--read-only" in table["s3-frames"].command


def test_nobody_is_told_about_us(table: dict[str, Service]) -> None:
    for each in table.values():
        assert each.environment["MLFLOW_DISABLE_TELEMETRY"] == "true" and each.environment["DO_NOT_TRACK"] == "1"
        assert each.environment["TMPDIR"].startswith(each.environment["NIGHTSCOPE_STATE_DIR"])


def test_mlflow_is_lean_has_a_login_and_a_bucket_of_its_own(table: dict[str, Service]) -> None:
    mlflow = table["mlflow"]

    assert mlflow.environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert mlflow.environment["MLFLOW_S3_ENDPOINT_URL"] == "http://127.0.0.1:9002"
    assert "s3://mlflow" in mlflow.command and mlflow.command[mlflow.command.index("--app-name") + 1] == "nightscope"
    assert mlflow.command[mlflow.command.index("--workers") + 1] == "1"


def test_label_studio_is_offline_and_protected(table: dict[str, Service]) -> None:
    environment = table["label-studio"].environment

    assert environment["COLLECT_ANALYTICS"] == environment["LATEST_VERSION_CHECK"] == "false"
    assert environment["LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK"] == "true"
    assert "SSRF_PROTECTION_ENABLED" not in environment
    assert environment["S3_ENDPOINT"] == "http://127.0.0.1:9003"


def test_the_scheduler_is_tuned(table: dict[str, Service]) -> None:
    environment = table["airflow-scheduler"].environment

    assert environment["AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME"] == "0.1"
    assert environment["AIRFLOW__CORE__PARALLELISM"] == "8"
    assert environment["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"
    assert environment["AIRFLOW__CORE__DAGS_FOLDER"] == "/opt/nightscope/dags"
    assert table["airflow-scheduler"].waits_for == 8080


def test_only_what_is_asked_for_is_in_the_table(layout: Layout, settings: Settings, secrets: Secrets) -> None:
    found = services.table(layout, settings, secrets, PORTS, ["s3"], {})

    assert [each.name for each in found] == list(s3.SERVICES)


def test_a_missing_label_studio_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="run 'make install'"):
        services.label_studio_program(tmp_path, {})


def test_strays_of_the_users_shell_are_not_inherited() -> None:
    environ = {
        "PATH": "/bin",
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AWS_PROFILE": "work",
        "AWS_CA_BUNDLE": "/etc/ca.pem",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MLFLOW_TRACKING_URI": "http://elsewhere",
    }

    assert services.inherited_environment(environ) == {"PATH": "/bin", "AWS_CA_BUNDLE": "/etc/ca.pem"}


def test_people_log_in_to_airflow_under_their_own_names(layout: Layout, settings: Settings, secrets: Secrets) -> None:
    account = settings.airflow.model_copy(update={"users": "ana:op, ben:viewer"})
    named = settings.model_copy(update={"airflow": account})
    found = services.table(layout, named, secrets, PORTS, ["airflow"], {})
    airflow.write_passwords(layout.airflow_passwords, secrets.airflow_password, account.people)
    before = json.loads(layout.airflow_passwords.read_text())
    layout.airflow_passwords.write_text(json.dumps(before | {"ana": "what Ana chose"}))
    airflow.write_passwords(layout.airflow_passwords, secrets.airflow_password, ["ana"])
    after = json.loads(layout.airflow_passwords.read_text())

    assert found[0].environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"] == "ana:op,ben:viewer,admin:admin"
    assert set(before) == {"ana", "ben", "admin"} and len(set(before.values())) == 3
    assert after == {"ana": "what Ana chose", "admin": secrets.airflow_password}, "who is not named loses the login"
    assert layout.airflow_passwords.stat().st_mode & 0o777 == 0o600


def test_a_damaged_password_file_is_said(layout: Layout, secrets: Secrets) -> None:
    layout.airflow_passwords.write_text("[1]")
    with pytest.raises(StackError, match="remove it"):
        airflow.write_passwords(layout.airflow_passwords, secrets.airflow_password, ["ana"])


@pytest.mark.parametrize(
    "users", ["ana", "ana:root", "a:op,a:user", "ana:op;x:admin", ":admin", "admin:viewer", "ana:op:admin", "a na:op"]
)
def test_users_that_are_none_are_refused(layout: Layout, monkeypatch: pytest.MonkeyPatch, users: str) -> None:
    monkeypatch.setenv("NIGHTSCOPE_AIRFLOW__USERS", users)
    with pytest.raises(ConfigError, match=r"users|name"):
        load_settings(layout.state_dir)
