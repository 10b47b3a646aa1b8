"""Airflow's four processes and their configuration, all by environment.

`airflow standalone` is not used: it dies on SIGTERM and leaves three orphans.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from secrets import token_urlsafe

from tasks.errors import StackError
from tasks.private_files import write_private
from tasks.stack.layout import Layout
from tasks.stack.ports import HOST
from tasks.stack.secrets import Secrets
from tasks.stack.service import Service, program
from tasks.stack.settings_file import AIRFLOW_USERNAME

POOLS = {
    "gpu": (1, "One training or evaluation at a time on each device."),
    "lake": (1, "One writer of the lake's tables at a time."),
    "promotion": (1, "One change of a champion at a time."),
}
"""Pool -> (slots, description). `gpu` gets as many slots as there are devices."""

HEALTH_PATH = "/api/v2/monitor/health"

_COMMANDS: dict[str, tuple[str, ...]] = {
    "airflow-api-server": ("api-server",),
    # Logs are read from the shared disk: their servers (8793, 8794) would listen on all interfaces.
    "airflow-scheduler": ("scheduler", "--skip-serve-logs"),
    "airflow-dag-processor": ("dag-processor",),
    "airflow-triggerer": ("triggerer", "--skip-serve-logs"),
}
SERVICES = tuple(_COMMANDS)


COMMON: Mapping[tuple[str, str], object] = {
    ("core", "load_examples"): False,
    ("core", "dags_are_paused_at_creation"): False,
    # 0.35 s between two tasks of a chain instead of 1.1-1.4 s.
    ("scheduler", "scheduler_idle_sleep_time"): 0.1,
    ("workers", "min_heartbeat_interval"): 1,
    # A task whose process was killed is noticed after 24 s instead of 300 s.
    ("scheduler", "task_instance_heartbeat_timeout"): 20,
    ("scheduler", "task_instance_heartbeat_timeout_detection_interval"): 3,
    # The tasks of a killed scheduler: see tasks.stack.launch, which makes the first check find them.
    ("scheduler", "orphaned_tasks_check_interval"): 15,
    ("dag_processor", "refresh_interval"): 30,
    ("usage_data_collection", "enabled"): False,
}
"""Airflow's settings that are the same embedded and in docker/compose.yaml, which a test compares with these."""


def write_passwords(path: Path, password: str, people: Iterable[str] = (), username: str = AIRFLOW_USERNAME) -> None:
    """Write SimpleAuthManager's password file before Airflow does: its own would be 0644, and print the passwords.

    Args:
        path: Of the file.
        password: Of the stack's own user.
        people: Names of the others. A password is made for whoever has none; who is no longer named loses it.
        username: Of the stack's own user.

    Raises:
        StackError: The file is damaged.
    """
    try:
        kept = json.loads(path.read_text()) if path.exists() else {}
        others = {name: str(kept.get(name) or token_urlsafe(18)) for name in people}
    except (ValueError, AttributeError, OSError):
        raise StackError(
            f"{path}: is not a JSON object of names and passwords",
            fix="remove it: every person gets a new password",
        ) from None
    write_private(path, json.dumps({**others, username: password}, indent=1) + "\n")


def airflow_environment(
    layout: Layout, secrets: Secrets, port: int, home: Path, people: Mapping[str, str]
) -> dict[str, str]:
    """Airflow's configuration.

    Args:
        layout: Where database, logs and password file are.
        secrets: Keys of this stack.
        port: Of the API server.
        home: Holds `dags/` and `plugins/`.
        people: Name -> role of those who log in beside the stack's own user.
    """
    users = {**people, AIRFLOW_USERNAME: "admin"}
    values: dict[tuple[str, str], object] = {
        ("core", "executor"): "LocalExecutor",
        ("core", "dags_folder"): home / "dags",
        ("core", "plugins_folder"): home / "plugins",
        ("core", "fernet_key"): secrets.airflow_fernet_key,
        # Fewer make finished tasks hold their slot for seconds (pools limit what must be limited); each costs memory.
        ("core", "parallelism"): 8,
        ("core", "simple_auth_manager_users"): ",".join(f"{name}:{role}" for name, role in users.items()),
        ("core", "simple_auth_manager_passwords_file"): layout.airflow_passwords,
        ("core", "execution_api_server_url"): f"http://{HOST}:{port}/execution/",
        ("database", "sql_alchemy_conn"): f"sqlite:///{layout.airflow_db}",
        ("logging", "base_log_folder"): layout.airflow_home / "logs",
        ("api", "host"): HOST,
        ("api", "port"): port,
        ("api", "base_url"): f"http://{HOST}:{port}",
        ("api", "workers"): 1,
        ("api", "secret_key"): secrets.airflow_secret_key,
        ("api_auth", "jwt_secret"): secrets.airflow_jwt_secret,
    }
    return {"AIRFLOW_HOME": str(layout.airflow_home), **as_variables({**COMMON, **values})}


def as_variables(values: Mapping[tuple[str, str], object]) -> dict[str, str]:
    """Section and key -> value, as the environment variables from which Airflow reads them."""
    return {f"AIRFLOW__{section}__{key}".upper(): str(value) for (section, key), value in values.items()}


def airflow_services(
    layout: Layout, secrets: Secrets, port: int, home: Path, shared: dict[str, str], people: Mapping[str, str]
) -> list[Service]:
    """The four services; `shared` is the environment that all services of the stack have."""
    environment = {**shared, **airflow_environment(layout, secrets, port, home, people)}
    executable = program("airflow")
    return [
        Service(
            name=name,
            unit="airflow",
            command=(executable, *arguments),
            environment=environment,
            port=port if name == "airflow-api-server" else None,
            health_path=HEALTH_PATH if name == "airflow-api-server" else None,
            stop_s=8,
            # A task that starts while the API server does not answer fails.
            waits_for=port if name == "airflow-scheduler" else None,
        )
        for name, arguments in _COMMANDS.items()
    ]
