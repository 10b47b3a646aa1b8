"""Services for tests, as the embedded stack runs them: same table, same process manager, own state folder and ports.

Services of a test's own: `tests.shared` has those that all tests of a run share.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.config import HOME, S3Settings, Settings, load_settings
from tasks.registry.login import remember
from tasks.stack.down import down
from tasks.stack.layout import Layout
from tasks.stack.up import up

ANY_PORT = {"s3": 0, "s3-landing": 0, "s3-mlflow": 0, "s3-frames": 0, "mlflow": 0, "label-studio": 0, "airflow": 0}


@contextmanager
def running(
    state_dir: Path, units: Collection[str], *, s3: S3Settings | None = None, home: Path = HOME
) -> Iterator[Settings]:
    """Run `units` of the embedded stack, for as long as the block lasts.

    Args:
        state_dir: Their state folder; created.
        units: Of `tasks.stack.services.UNITS`.
        s3: An S3 server that is there already, for the others to use.
        home: Holds `dags/` and `plugins/`.

    Yields:
        Settings that reach them.
    """
    if s3 is not None:
        use_external_s3(state_dir, s3)
    up(state_dir, units=units, preferred=ANY_PORT, home=home)
    settings = load_settings(state_dir)
    sign_in(settings)
    try:
        yield settings
    finally:
        down(state_dir)


def s3_access(settings: Settings, purpose: str) -> S3Settings:
    """What the holder of an embedded stack's other S3 key has: 'landing', 'mlflow' or 'frames'."""
    layout = Layout.at(settings.state_dir)
    secrets, ports = (json.loads(path.read_text()) for path in (layout.secrets_file, layout.ports_file))
    keys = {f"{part}_key": secrets[f"s3_{purpose}_{part}_key"] for part in ("access", "secret")}
    return S3Settings(endpoint=f"http://127.0.0.1:{ports[f's3-{purpose}']}", **keys)


def sign_in(settings: Settings) -> None:
    """Have tests that know no more than MLflow's URL sign in, too."""
    if settings.mlflow.username:
        remember(settings.mlflow.url, settings.mlflow.username, settings.mlflow.password.get_secret_value())


def use_external_s3(state_dir: Path, s3: S3Settings) -> None:
    """Name an S3 server in the user's part of `settings.env`, as a user would."""
    _write_settings(state_dir, _s3_lines(s3))


def use_external_services(state_dir: Path, services: Settings, name: str) -> Settings:
    """An installation of its own, with buckets called after `name`, on S3 and MLflow servers that are there already."""
    buckets = {f"{each}_bucket": f"{each}-{name}" for each in ("landing", "lake", "frames")}
    mlflow = services.mlflow
    login = {"URL": mlflow.url, "USERNAME": mlflow.username, "PASSWORD": mlflow.password.get_secret_value()}
    lines = {f"NIGHTSCOPE_MLFLOW__{key}": value for key, value in login.items()}
    _write_settings(state_dir, _s3_lines(services.s3.model_copy(update=buckets)) | lines)
    return load_settings(state_dir)


def _s3_lines(s3: S3Settings) -> dict[str, str]:
    return {
        "NIGHTSCOPE_S3__ENDPOINT": s3.endpoint,
        "NIGHTSCOPE_S3__ACCESS_KEY": s3.access_key,
        "NIGHTSCOPE_S3__SECRET_KEY": s3.secret_key.get_secret_value(),
        "NIGHTSCOPE_S3__LANDING_BUCKET": s3.landing_bucket,
        "NIGHTSCOPE_S3__LAKE_BUCKET": s3.lake_bucket,
        "NIGHTSCOPE_S3__FRAMES_BUCKET": s3.frames_bucket,
    }


def _write_settings(state_dir: Path, values: dict[str, str]) -> None:
    state_dir.mkdir(parents=True, exist_ok=True)
    path = state_dir / "settings.env"
    path.touch(mode=0o600)
    path.write_text("".join(f"{key}={value}\n" for key, value in values.items()))
