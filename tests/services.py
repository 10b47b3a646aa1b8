"""Services for tests, as the embedded stack runs them: same table, same process manager, own state folder and ports.

The fixture starts them once per test session (under pytest-xdist once per worker: they share nothing, and Label Studio
starts in seconds from the migrated database that `make install` keeps). A `conftest.py` takes it in by
`from tests.services import embedded_services`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.config import HOME, S3Settings, Settings, load_settings
from tasks.registry.login import remember
from tasks.stack.down import down
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
    if settings.mlflow.username:  # tests that know no more than the URL sign in, too
        remember(settings.mlflow.url, settings.mlflow.username, settings.mlflow.password.get_secret_value())
    try:
        yield settings
    finally:
        down(state_dir)


def use_external_s3(state_dir: Path, s3: S3Settings) -> None:
    """Name an S3 server in the user's part of `settings.env`, as a user would."""
    state_dir.mkdir(parents=True, exist_ok=True)
    values = {
        "NIGHTSCOPE_S3__ENDPOINT": s3.endpoint,
        "NIGHTSCOPE_S3__ACCESS_KEY": s3.access_key,
        "NIGHTSCOPE_S3__SECRET_KEY": s3.secret_key.get_secret_value(),
        "NIGHTSCOPE_S3__LANDING_BUCKET": s3.landing_bucket,
        "NIGHTSCOPE_S3__LAKE_BUCKET": s3.lake_bucket,
        "NIGHTSCOPE_S3__FRAMES_BUCKET": s3.frames_bucket,
    }
    path = state_dir / "settings.env"
    path.touch(mode=0o600)
    path.write_text("".join(f"{key}={value}\n" for key, value in values.items()))


@pytest.fixture(scope="session")
def embedded_services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The real S3 server, MLflow (its artifacts in the S3 server) and Label Studio (its images from there)."""
    with running(tmp_path_factory.mktemp("stack"), ("s3", "mlflow", "label-studio")) as settings:
        yield settings
