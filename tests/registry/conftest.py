"""A registry on the session's real MLflow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tasks.registry import Registry
from tasks.registry.connection import connect
from tests.services import running


@pytest.fixture(scope="session")
def mlflow_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real MLflow, its artifacts in the real S3 server, for the session."""
    with running(tmp_path_factory.mktemp("mlflow"), ("s3", "mlflow")) as settings:
        yield settings.mlflow.url


@pytest.fixture
def registry(mlflow_url: str) -> Registry:
    """Our registry on it."""
    return Registry(connect(mlflow_url), mlflow_url)
