"""Fixtures that every test may use: a real S3 server, and a fresh lake on it."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tasks.config import Settings
from tasks.lake import Lake, open_lake
from tests.postgres import PostgresServer, postgres_server
from tests.s3_servers import S3Server, rclone
from tests.scheduling import ByFileOrFolder, rank
from tests.shared import end_shared, shared_stack

hypothesis.settings.register_profile("patient", deadline=None)  # how fast a machine is, is no property of the code
hypothesis.settings.load_profile("patient")

KINDS = ("unit", "integration", "e2e", "browser")
FOLDERS = {
    "e2e": "e2e",
    "browser": "browser",
    "stack": "integration",
    "dags": "integration",
    "training": "integration",
    "steps": "integration",
    "operations": "integration",
    "experiments": "integration",
}
"""Folders whose tests are all of a kind. Elsewhere a test that uses a service is an integration test, and others unit
tests; a module that decodes, trains or starts processes at length names its kind itself (`pytestmark`)."""

SERVICES = {"s3_server", "postgres", "registry_stack", "label_studio", "services", "stack", "store"}
"""Fixtures that are a running service."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its kind, and put what takes longest first."""
    for item in items:
        if not any(item.get_closest_marker(kind) for kind in KINDS):
            item.add_marker(_kind_of(item))
    items.sort(key=lambda item: rank(item.path.relative_to(Path(__file__).parent).as_posix()))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep on one worker what shares much; other ways to distribute tests than by file stay pytest-xdist's own."""
    return ByFileOrFolder(config, log) if config.getvalue("dist") == "loadfile" else None


def _kind_of(item: pytest.Item) -> str:
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    uses_service = SERVICES & set(getattr(item, "fixturenames", ()))
    return FOLDERS.get(folder) or ("integration" if uses_service else "unit")


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """No test leaves its process under realtime scheduling: all that it starts inherits it, and starves the rest."""
    if sys.platform == "linux" and os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK in (os.SCHED_FIFO, os.SCHED_RR):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        pytest.fail(f"{item.nodeid} left its process under realtime scheduling")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End what the run's tests shared, when the last worker is done."""
    factory = getattr(session.config, "_tmp_path_factory", None)
    if factory is not None and not hasattr(session.config, "workerinput"):
        end_shared(factory.getbasetemp())


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The real rclone on a free port, for the whole session."""
    with rclone(tmp_path_factory.mktemp("s3") / "served") as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL on a free port, for the whole session."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def registry_stack(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The real S3 servers and MLflow, shared by all tests of this run."""
    return shared_stack(tmp_path_factory, "registry", ("s3", "mlflow"))


@pytest.fixture
def settings(s3_server: S3Server, tmp_path: Path) -> Settings:
    """An installation of its own: own buckets, own state folder."""
    name = uuid.uuid4().hex[:12]
    buckets = {f"{each}_bucket": f"{each}-{name}" for each in ("landing", "lake", "frames")}
    s3 = s3_server.settings.model_copy(update=buckets)
    return Settings(state_dir=tmp_path / "state", s3=s3)


@pytest.fixture
def lake(settings: Settings) -> Lake:
    """A fresh, empty lake with both buckets made."""
    fresh = open_lake(settings)
    fresh.landing.ensure_bucket()
    fresh.store.ensure_bucket()
    return fresh
