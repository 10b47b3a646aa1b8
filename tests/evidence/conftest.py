"""A real lake, a real MLflow, and a line of which two nights have been judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.config import Settings
from tasks.lake import Lake, open_lake
from tests.evidence.world import Nights
from tests.s3_servers import S3Server


@pytest.fixture(scope="session")
def mlflow(registry_stack: Settings) -> Settings:
    """The real MLflow, its artifacts in a real S3 server."""
    return registry_stack


@pytest.fixture
def nights(lake: Lake, mlflow: Settings, tmp_path: Path) -> Nights:
    """A line with a dataset version; nothing has happened yet."""
    return Nights(lake, mlflow, tmp_path)


@pytest.fixture(scope="session")
def judged(s3_server: S3Server, mlflow: Settings, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """A first champion, and a second version that did not replace it. For tests that leave it as they found it."""
    folder = tmp_path_factory.mktemp("judged")
    s3 = s3_server.settings.model_copy(update={"landing_bucket": "landing-judged", "lake_bucket": "lake-judged"})
    made = Nights(open_lake(Settings(state_dir=folder / "state", s3=s3)), mlflow, folder)
    made.night("a" * 64)
    made.night("b" * 64, error=0.3)
    return made


@pytest.fixture
def tampered(nights: Nights) -> Nights:
    """The same, for tests that do not."""
    nights.night("a" * 64)
    nights.night("b" * 64, error=0.3)
    return nights
