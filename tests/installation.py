"""Fixtures: an installation whose steps find their lake by the settings file, as in a night.

The conftest of each folder whose tests want one imports these by name.
"""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tasks.config import Settings, load_settings
from tasks.lake import Lake, open_lake
from tasks.registry import open_registry
from tests.promotion.promoting import Scene
from tests.services import use_external_s3, use_external_services
from tests.steps.small_line import small_line


@pytest.fixture
def installed(settings: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A fresh lake that this process's steps use."""
    use_external_s3(settings.state_dir, settings.s3)
    monkeypatch.setenv("NIGHTSCOPE_STATE_DIR", str(settings.state_dir))
    return lake


@pytest.fixture(scope="session")
def with_registry(registry_stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An installation of this worker's own, on the run's S3 server and MLflow."""
    settings = use_external_services(tmp_path_factory.mktemp("registry"), registry_stack, uuid.uuid4().hex[:12])
    lake = open_lake(settings)
    for store in (lake.landing, lake.store, lake.frames.store):
        store.ensure_bucket()
    return settings


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
