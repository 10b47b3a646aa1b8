"""An installation whose steps find their lake by the settings file, as in a night."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.config import Settings, load_settings
from tasks.lake import Lake, open_lake
from tasks.registry import open_registry
from tests.services import running, use_external_s3
from tests.steps.promoting import Scene
from tests.steps.small_line import small_line


@pytest.fixture
def installed(settings: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A fresh lake that this process's steps use."""
    use_external_s3(settings.state_dir, settings.s3)
    monkeypatch.setenv("NIGHTSCOPE_STATE_DIR", str(settings.state_dir))
    return lake


@pytest.fixture(scope="session")
def with_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """An S3 server and MLflow, for the session."""
    with running(tmp_path_factory.mktemp("registry"), ("s3", "mlflow")) as settings:
        yield settings


@pytest.fixture
def scene(with_registry: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A fresh line on them, that this process's steps find."""
    monkeypatch.setenv("NIGHTSCOPE_STATE_DIR", str(with_registry.state_dir))
    monkeypatch.setenv("NIGHTSCOPE_LINES_DIR", str(tmp_path))
    settings = load_settings()
    made = Scene(f"line-{uuid.uuid4().hex[:8]}", open_lake(settings), open_registry(settings), tmp_path)
    made.configure()
    return made


@pytest.fixture(scope="session")
def small_line_environment(with_registry: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A line on them that trains in seconds: the environment that leads to it, for `small_line.steps_use`."""
    return small_line(with_registry, tmp_path_factory.mktemp("small-line"))
