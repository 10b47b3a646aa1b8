"""`settings.env`: the user's part stays, and a URL that the user gives makes a service external."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.config import load_settings
from tasks.stack import settings_file
from tasks.stack.layout import Layout
from tasks.stack.secrets import load_or_create

PORTS = {
    "s3": 9000, "s3-landing": 9001, "s3-mlflow": 9002, "s3-frames": 9003,
    "mlflow": 5500, "label-studio": 8081, "airflow": 8080,
}  # fmt: skip


def write_all(layout: Layout) -> None:
    settings = settings_file.with_embedded(load_settings(layout.state_dir), PORTS, load_or_create(layout))
    settings_file.write(layout, settings_file.lines(settings, settings_file.URL_KEYS))


def test_what_is_written_is_what_settings_read(layout: Layout) -> None:
    write_all(layout)

    settings, secrets = load_settings(layout.state_dir), load_or_create(layout)
    assert settings.s3.endpoint == "http://127.0.0.1:9000"
    assert settings.s3.secret_key.get_secret_value() == secrets.s3_secret_key
    assert settings.mlflow.url == "http://127.0.0.1:5500"
    assert settings.label_studio.url == "http://127.0.0.1:8081"
    assert settings.label_studio.token.get_secret_value() == secrets.label_studio_token
    assert settings.airflow.username == "admin"
    assert settings.airflow.password.get_secret_value() == secrets.airflow_password


def test_the_file_is_for_its_owner_only(layout: Layout) -> None:
    write_all(layout)

    assert layout.settings_env.stat().st_mode & 0o777 == 0o600


def test_nothing_is_external_at_first(layout: Layout) -> None:
    assert settings_file.external(layout, {}) == {}


def test_a_url_in_the_environment_is_external(layout: Layout) -> None:
    assert settings_file.external(layout, {"NIGHTSCOPE_MLFLOW__URL": "http://mlflow:80"}) == {
        "mlflow": "http://mlflow:80"
    }


def test_a_url_in_the_users_part_is_external_and_stays(layout: Layout) -> None:
    mine = "# mine\nexport NIGHTSCOPE_S3__ENDPOINT='https://s3.lab'\nNIGHTSCOPE_WORKERS=3\n"
    layout.settings_env.write_text(mine)

    write_all(layout)
    write_all(layout)

    assert settings_file.external(layout, {}) == {"s3": "https://s3.lab"}
    assert layout.settings_env.read_text().startswith(mine)
    assert layout.settings_env.read_text().count("NIGHTSCOPE_MLFLOW__URL") == 1


def test_what_the_stack_wrote_is_not_external(layout: Layout) -> None:
    write_all(layout)

    assert settings_file.external(layout, {}) == {}


def test_a_shell_that_sourced_the_file_does_not_make_services_external(layout: Layout) -> None:
    write_all(layout)

    assert settings_file.external(layout, settings_file.written(layout)) == {}


def test_only_what_was_asked_for_is_written(layout: Layout) -> None:
    settings = settings_file.with_embedded(load_settings(layout.state_dir), PORTS, load_or_create(layout))

    settings_file.write(layout, settings_file.lines(settings, ["mlflow"]))

    written = settings_file.written(layout)
    assert written["NIGHTSCOPE_MLFLOW__URL"] == "http://127.0.0.1:5500"
    assert all(key.startswith("NIGHTSCOPE_MLFLOW__") for key in written)


def test_the_keys_of_mlflow_and_label_studio_are_not_ours_to_read(layout: Layout) -> None:
    secrets = load_or_create(layout)
    write_all(layout)
    text = layout.settings_env.read_text()
    assert secrets.s3_landing_secret_key in text and secrets.s3_secret_key in text
    assert secrets.s3_mlflow_secret_key not in text and secrets.s3_frames_secret_key not in text


def test_a_path_that_no_configuration_can_carry_is_refused(tmp_path: Path) -> None:
    from tasks.errors import StackError

    with pytest.raises(StackError, match="semicolons"):
        Layout.at(tmp_path / "a;b")
