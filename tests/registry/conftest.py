"""A registry on the session's real MLflow."""

from __future__ import annotations

import pytest

from tasks.config import Settings
from tasks.registry import Registry
from tasks.registry.connection import connect


@pytest.fixture(scope="session")
def mlflow_url(registry_stack: Settings) -> str:
    """The real MLflow, its artifacts in the real S3 server."""
    return registry_stack.mlflow.url


@pytest.fixture
def registry(mlflow_url: str) -> Registry:
    """Our registry on it."""
    return Registry(connect(mlflow_url), mlflow_url)
