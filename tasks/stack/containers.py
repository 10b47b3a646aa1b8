"""What a container of docker/compose.yaml does before its service starts: `python -m tasks.stack.containers STEP`.

    airflow-passwords    the file of people's passwords, in a volume of the API server alone
    airflow-pools        Airflow's pools, into its database
    mlflow               what MLflow's login reads, and its database brought to the installed release

Everything comes from the environment, so that no secret stands on a command line. Each may be killed and run again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tasks.config import load_settings
from tasks.errors import ConfigError
from tasks.private_files import write_private
from tasks.stack.airflow import POOLS, write_passwords
from tasks.stack.prepare import write_mlflow_auth
from tasks.stack.service import program

GPU_SLOTS = "NIGHTSCOPE_GPU_SLOTS"
"""Trainings and evaluations side by side, on all machines together: one for each GPU."""


def airflow_passwords(environ: Mapping[str, str]) -> None:
    """Write SimpleAuthManager's password file; people who have none get one, which stays.

    Raises:
        ConfigError: A variable is missing.
        StackError: The file is damaged.
    """
    path = Path(_value(environ, "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"))
    account = load_settings().airflow
    password = account.password.get_secret_value()
    if not password:
        raise ConfigError("NIGHTSCOPE_AIRFLOW__PASSWORD", expected="the password of the stack's own user")
    write_passwords(path, password, account.people, account.username)


def airflow_pools(environ: Mapping[str, str]) -> None:
    """Make Airflow's pools; `gpu` gets `NIGHTSCOPE_GPU_SLOTS` slots, the others are ours to say.

    Raises:
        ConfigError: The number of slots is none.
    """
    text = _value(environ, GPU_SLOTS)
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(GPU_SLOTS, expected="a number of 1 or more", found=repr(text))
    wanted = POOLS | {"gpu": (int(text), POOLS["gpu"][1])}
    path = Path(environ.get("TMPDIR", "/tmp")) / "pools.json"
    write_private(path, json.dumps({name: _pool(*pool) for name, pool in wanted.items()}))
    subprocess.run([program("airflow"), "pools", "import", str(path)], check=True)


def _pool(slots: int, description: str) -> dict[str, object]:
    return {"slots": slots, "description": description, "include_deferred": False}


def mlflow(environ: Mapping[str, str]) -> None:
    """Write what MLflow's login reads, and bring MLflow's database to the installed release.

    Raises:
        ConfigError: A variable is missing.
    """
    write_mlflow_auth(
        Path(_value(environ, "MLFLOW_AUTH_CONFIG_PATH")), _value(environ, "NIGHTSCOPE_MLFLOW_AUTH_DATABASE_URI")
    )
    # As `mlflow db upgrade`, whose argument would show the database's password in the list of processes.
    migrate = "import os, mlflow.db; mlflow.db.upgrade.callback(os.environ['MLFLOW_BACKEND_STORE_URI'])"
    subprocess.run([sys.executable, "-c", migrate], check=True)


STEPS: Mapping[str, Callable[[Mapping[str, str]], None]] = {
    "airflow-passwords": airflow_passwords,
    "airflow-pools": airflow_pools,
    "mlflow": mlflow,
}


def _value(environ: Mapping[str, str], name: str) -> str:
    found = environ.get(name, "")
    if not found:
        raise ConfigError(f"environment of this container: {name}", expected="a value", fix="see docker/.env.example")
    return found


if __name__ == "__main__":
    STEPS[sys.argv[1]](os.environ)
