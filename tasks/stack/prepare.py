"""What must be there before a service first starts: migrated databases, buckets, Airflow's pools.

A database is made under another name and renamed when whole: a killed first start leaves none that is half made. The
first one of a release is kept with the programs while it is empty, and other installations begin with a copy.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tasks.errors import StackError
from tasks.private_files import write_private
from tasks.stack.airflow import POOLS
from tasks.stack.layout import Layout
from tasks.stack.service import Service, program

_PATIENCE_S = 600
_DISTRIBUTIONS = {"airflow": "apache-airflow", "mlflow": "mlflow"}
Command = Callable[[Path], tuple[list[str], dict[str, str]]]
"""A database -> the command that migrates it, and what to add to its environment."""

LABEL_STUDIO_DATABASE = "label_studio.sqlite3"


def due(layout: Layout, first: Service) -> str:
    """What must be done before a unit starts, for a person; empty if nothing. `first` is the unit's first service."""
    if first.unit in _DISTRIBUTIONS:
        database = layout.airflow_db if first.unit == "airflow" else layout.mlflow_db
        return "" if _is_migrated(layout, first.unit, database) else "migrating its database"
    if first.unit == "label-studio" and not (layout.label_studio_data / LABEL_STUDIO_DATABASE).exists():
        kept = empty_database(Path(first.command[0])).exists()
        return "placing its database" if kept else "will migrate its database first, half a minute"
    return ""


def prepare(layout: Layout, first: Service, environ: Mapping[str, str]) -> None:
    """Do what is `due`; nothing if nothing is.

    Args:
        layout: Paths of the stack.
        first: The unit's first service.
        environ: Complete environment of that service.

    Raises:
        StackError: A migration failed.
    """
    if first.unit == "airflow":
        migrate_airflow(layout, environ)
    elif first.unit == "mlflow":
        migrate_mlflow(layout, environ)
    elif first.unit == "label-studio":
        place_label_studio_database(layout, Path(first.command[0]))


def migrate_airflow(layout: Layout, environ: Mapping[str, str]) -> None:
    """Bring Airflow's database to the installed release; quick when it is there already.

    Args:
        layout: Paths of the stack.
        environ: Complete environment of the services, Airflow's configuration included.

    Raises:
        StackError: The migration failed.
    """

    def command(database: Path) -> tuple[list[str], dict[str, str]]:
        return [program("airflow"), "db", "migrate"], {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}"}

    configuration = layout.airflow_home / "airflow.cfg"
    if not configuration.exists():  # else its processes write one, all at once, and read each other's halves
        write_private(configuration, "# Airflow is configured by the environment of its services.\n")
    _migrate(layout, "airflow", layout.airflow_db, command, environ, kept_database("airflow"))


def migrate_mlflow(layout: Layout, environ: Mapping[str, str]) -> None:
    """Bring MLflow's database to the installed release; quick when it is there already.

    Raises:
        StackError: The migration failed.
    """

    def command(database: Path) -> tuple[list[str], dict[str, str]]:
        return [program("mlflow"), "db", "upgrade", f"sqlite:///{database}"], {}

    _migrate(layout, "mlflow", layout.mlflow_db, command, environ, kept_database("mlflow"))


def _stamp(layout: Layout, unit: str) -> Path:
    return layout.control_dir / f"{unit}.migrated"


def _is_migrated(layout: Layout, unit: str, database: Path) -> bool:
    stamp = _stamp(layout, unit)
    return database.exists() and stamp.exists() and stamp.read_text() == version(_DISTRIBUTIONS[unit])


def kept_database(unit: str) -> Path:
    """Where an empty database of the installed release is kept, of 'airflow' or 'mlflow'."""
    folder = Path(program(unit)).parent.parent / "share" / "nightscope"
    return folder / f"{unit}-{version(_DISTRIBUTIONS[unit])}.sqlite3"


def _migrate(
    layout: Layout, unit: str, database: Path, command: Command, environ: Mapping[str, str], kept: Path
) -> None:
    if _is_migrated(layout, unit, database):
        return
    target = database
    if not database.exists():
        target = database.with_name(f"{database.name}.new")
        for leftover in target.parent.glob(f"{target.name}*"):
            leftover.unlink()
    if target != database and kept.exists():
        shutil.copyfile(kept, target)
    else:
        _run_migration(layout, unit, target, command, environ)
    if target != database:
        with sqlite3.connect(target) as connection:  # what stands in its write-ahead log must come along
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        _keep(target, kept)
        target.replace(database)
    database.chmod(0o600)
    write_private(_stamp(layout, unit), version(_DISTRIBUTIONS[unit]))


def _run_migration(layout: Layout, unit: str, target: Path, command: Command, environ: Mapping[str, str]) -> None:
    arguments, extra = command(target)
    log = layout.log(f"{unit}-migrate")
    with log.open("wb") as output:
        log.chmod(0o600)
        done = subprocess.run(
            arguments,
            env={**environ, **extra},
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=_PATIENCE_S,
            check=False,
            umask=0o077,
        )
    if done.returncode != 0:
        raise StackError(f"{unit}: its database cannot be migrated: {tail(log)}", fix=f"look into {log}")


def _keep(database: Path, kept: Path) -> None:
    """Keep an empty, migrated database for other installations; not where only others may write to the programs."""
    if kept.exists():
        return
    temporary = kept.with_name(f"{kept.name}.{os.getpid()}")
    with suppress(OSError):
        kept.parent.mkdir(exist_ok=True, parents=True)
        shutil.copyfile(database, temporary)
        temporary.replace(kept)


def place_label_studio_database(layout: Layout, binary: Path) -> bool:
    """Start Label Studio's database from the migrated, empty one that `tasks.stack.install` keeps beside its program.

    Its own migrations take half a minute of a processor.

    Returns:
        Whether it was placed; not where there is one already or none is kept (Label Studio then migrates itself).
    """
    target, kept = layout.label_studio_data / LABEL_STUDIO_DATABASE, empty_database(binary)
    if target.exists() or not kept.exists():
        return False
    temporary = target.with_name(f"{target.name}.new")
    shutil.copyfile(kept, temporary)
    temporary.chmod(0o600)
    temporary.replace(target)
    return True


def empty_database(binary: Path) -> Path:
    """Where the migrated, empty database of a Label Studio is kept."""
    return binary.parent.parent / "share" / "nightscope" / LABEL_STUDIO_DATABASE


def write_mlflow_auth(path: Path, database_uri: str) -> None:
    """Write what MLflow's login reads: who signs in may read everything, and change what is his own.

    Checked passwords are remembered for a minute: hashing one costs more than most requests.
    """
    lines = {
        "default_permission": "READ",
        "database_uri": database_uri,
        "auth_cache_ttl_seconds": "60",
    }
    write_private(path, "\n".join(["[mlflow]", *(f"{k} = {v}" for k, v in lines.items()), ""]))


def make_pools(service: Service, username: str, password: str, devices: int) -> None:
    """Create Airflow's pools through its REST API; those that are there stay, with a slot of `gpu` for each device.

    Raises:
        StackError: Airflow refuses.
    """
    token = _post(f"{service.url}/auth/token", {"username": username, "password": password}, None)["access_token"]
    pools = f"{service.url}/api/v2/pools"
    for name, (slots, description) in POOLS.items():
        pool = {"name": name, "slots": slots, "description": description, "include_deferred": False}
        _post(pools, pool, token)
    gpu = {"pool": "gpu", "slots": devices, "description": POOLS["gpu"][1], "include_deferred": False}
    _post(f"{pools}/gpu", gpu, token, method="PATCH")


def _post(url: str, body: dict[str, Any], token: str | None, *, method: str = "POST") -> dict[str, Any]:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    request = urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return dict(json.loads(answer.read()))
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 409:  # there already
                return {}
            raise StackError(f"airflow-api-server: {url} answered {error.code}") from error
    except OSError as error:
        raise StackError(f"airflow-api-server: {url} does not answer: {error}") from error


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 8192))
            text = file.read().decode(errors="replace")
    except OSError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:]) or "(empty log)"
