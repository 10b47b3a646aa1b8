"""The table of services: what each runs, in which environment, on which port, and how its health is seen.

Nothing secret stands on a command line; environments go through 0600 files (`tasks.stack.launch`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from tasks.config import HOME, S3Settings, Settings
from tasks.errors import StackError
from tasks.stack.airflow import airflow_services
from tasks.stack.layout import Layout
from tasks.stack.loopback import past_proxies
from tasks.stack.ports import HOST
from tasks.stack.processes import SERVICE_MARK, STACK_MARK
from tasks.stack.s3 import s3_services
from tasks.stack.secrets import Secrets
from tasks.stack.service import Service, program
from tasks.stack.settings_file import MLFLOW_USERNAME

MLFLOW_APP = "nightscope"
"""Our MLflow app, see `tasks.registry.mlflow_app`."""

UNITS: tuple[str, ...] = ("s3", "mlflow", "label-studio", "airflow")
"""What can be embedded or external, in the order of dependence. Airflow is four services, the others one each."""

OFFLINE: Mapping[str, str] = {
    "DJANGO_DB": "sqlite",
    "DEBUG": "false",
    "COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
}
"""Label Studio as it must be here: on SQLite, and not phoning home."""

QUIET: Mapping[str, str] = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "SCARF_ANALYTICS": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "YOLO_OFFLINE": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""For every service, and so for every step that Airflow runs: no library tells its makers about us."""

# Not inherited by services: a stray AWS profile or AIRFLOW__ variable of the user's shell would reach into them.
_NOT_INHERITED = ("AIRFLOW", "MLFLOW_", "LABEL_STUDIO_", "DJANGO_", "RCLONE_", "SUPERVISOR_", "AWS_", "PYTHON")
_INHERITED = ("AWS_CA_BUNDLE",)


def inherited_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of the user's environment that the services inherit.

    PYTHONDONTWRITEBYTECODE is left out on purpose: with it every start would compile thousands of modules again.
    """
    return {key: value for key, value in environ.items() if key in _INHERITED or not key.startswith(_NOT_INHERITED)}


def table(
    layout: Layout,
    settings: Settings,
    secrets: Secrets,
    ports: Mapping[str, int],
    units: Collection[str],
    environ: Mapping[str, str],
    home: Path = HOME,
) -> list[Service]:
    """The services of `units`, in the order of `UNITS`.

    Args:
        layout: Paths of this stack.
        settings: Where everything is, the embedded services included.
        secrets: Keys of this stack.
        ports: Unit -> port.
        units: The ones to run here.
        environ: Its `NIGHTSCOPE_*` go to the services (a URL of an external service, say).
        home: Holds `dags/` and `plugins/`.

    Raises:
        StackError: A program is not installed.
    """
    shared = {
        **{key: value for key, value in environ.items() if key.upper().startswith("NIGHTSCOPE_")},
        "NIGHTSCOPE_STATE_DIR": str(layout.state_dir),
        STACK_MARK: layout.marker,
        **past_proxies(environ),
        **QUIET,
        "TMPDIR": str(layout.temporary_dir),
        "PYTHONUNBUFFERED": "1",
        # setproctitle overwrites the environment that /proc shows, our marks included, unless told not to.
        "SPT_NOENV": "1",
    }
    found: list[Service] = []
    if "s3" in units:
        found += s3_services(layout, secrets, ports, shared)
    if "mlflow" in units:
        found.append(_mlflow(layout, settings, secrets, ports["mlflow"], shared))
    if "label-studio" in units:
        found.append(_label_studio(layout, settings, ports["label-studio"], shared, environ, home))
    if "airflow" in units:
        found += airflow_services(layout, secrets, ports["airflow"], home, shared, settings.airflow.people)
    return [replace(each, environment={**each.environment, SERVICE_MARK: each.name}) for each in found]


def _s3_client_environment(s3: S3Settings) -> dict[str, str]:
    if not s3.endpoint:
        return {}
    return {
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret_key.get_secret_value(),
        "AWS_DEFAULT_REGION": s3.region,
        # rclone answers 411 to the trailing checksums that AWS SDKs send by default.
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }


def _mlflow(layout: Layout, settings: Settings, secrets: Secrets, port: int, shared: dict[str, str]) -> Service:
    s3 = settings.s3.by(settings.s3.mlflow)
    options = {
        "--host": HOST,
        "--port": str(port),
        "--workers": "1",
        "--app-name": MLFLOW_APP,
        "--backend-store-uri": f"sqlite:///{layout.mlflow_db}",
        # Served by MLflow itself: its clients need no S3 keys.
        "--artifacts-destination": f"s3://{s3.mlflow_bucket or f'{s3.lake_bucket}/mlflow'}",
    }
    return Service(
        name="mlflow",
        unit="mlflow",
        command=(program("mlflow"), "server", *(part for option in options.items() for part in option)),
        environment={
            **shared,
            **_s3_client_environment(s3),
            "MLFLOW_S3_ENDPOINT_URL": s3.endpoint,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 0.5 GB instead of 2.2
            "MLFLOW_AUTH_CONFIG_PATH": str(layout.mlflow_auth_config),
            "MLFLOW_AUTH_ADMIN_USERNAME": MLFLOW_USERNAME,
            "MLFLOW_AUTH_ADMIN_PASSWORD": secrets.mlflow_password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.mlflow_secret_key,
            "NIGHTSCOPE_MLFLOW_READER_PASSWORD": secrets.mlflow_reader_password,
        },
        port=port,
        health_path="/health",
        stop_s=5,
    )


def label_studio_program(home: Path, environ: Mapping[str, str]) -> Path:
    """Label Studio's program, in an environment of its own: its pins do not go with ours.

    Raises:
        StackError: It is not installed.
    """
    path = Path(environ.get("NIGHTSCOPE_LABEL_STUDIO_BIN") or home / ".nightscope/envs/label-studio/bin/label-studio")
    if not os.access(path, os.X_OK):
        raise StackError(
            f"Label Studio's program is not at {path}",
            fix="run 'make install', or name it in NIGHTSCOPE_LABEL_STUDIO_BIN",
        )
    return path


def _label_studio(
    layout: Layout, settings: Settings, port: int, shared: dict[str, str], environ: Mapping[str, str], home: Path
) -> Service:
    account, s3 = settings.label_studio, settings.s3.by(settings.s3.frames)
    binary = str(label_studio_program(home, environ))
    return Service(
        name="label-studio",
        unit="label-studio",
        command=(binary, "start", "--no-browser", "--internal-host", HOST, "--port", str(port)),
        environment={
            **shared,
            **_s3_client_environment(s3),
            # SSRF protection refuses 127.0.0.1 in a storage's settings and stays on; the environment is trusted.
            "S3_ENDPOINT": s3.endpoint,
            "LABEL_STUDIO_BASE_DATA_DIR": str(layout.label_studio_data),
            "LABEL_STUDIO_USERNAME": account.username,
            "LABEL_STUDIO_PASSWORD": account.password.get_secret_value(),
            "LABEL_STUDIO_USER_TOKEN": account.token.get_secret_value(),
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
            "LABEL_STUDIO_HOST": "",
            **OFFLINE,
        },
        port=port,
        health_path="/health",
        stop_s=5,
    )
