"""The services as they ship, and what an intruder has: a key, a login, or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tasks import steps
from tasks.config import S3Settings, Settings
from tasks.lake import Lake, open_lake
from tasks.schemas import Decision
from tasks.session import open_session
from tasks.stack.layout import Layout
from tests.installation import scene, with_registry
from tests.promotion.promoting import Scene
from tests.services import running, s3_access

__all__ = ["scene", "with_registry"]


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """S3 servers, MLflow and Label Studio."""
    with running(tmp_path_factory.mktemp("doors"), ("s3", "mlflow", "label-studio")) as settings:
        yield settings


@pytest.fixture(scope="session")
def secrets(services: Settings) -> dict[str, Any]:
    """What stands in the stack's secrets file."""
    found: dict[str, Any] = json.loads(Layout.at(services.state_dir).secrets_file.read_text())
    return found


@pytest.fixture(scope="session")
def lake(services: Settings) -> Lake:
    """The lake, as our steps open it."""
    return open_lake(services)


@pytest.fixture(scope="session")
def frames_key(services: Settings) -> S3Settings:
    """What Label Studio holds."""
    return s3_access(services, "frames")


@pytest.fixture(scope="session")
def mlflow_key(services: Settings) -> S3Settings:
    """What MLflow holds."""
    return s3_access(services, "mlflow")


@pytest.fixture
def two(scene: Scene) -> tuple[str, str]:
    """A champion, and a version that its gates rejected."""
    first = scene.version().version
    steps.promote_model(open_session(), scene.name, {}, scene.verdict(first, None))
    second = scene.version().version
    scene.verdict(second, first, Decision.REJECT)
    return first, second
