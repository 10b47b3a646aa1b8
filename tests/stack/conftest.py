"""Fixtures of the stack's tests: an empty layout, and a running S3 server and MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.stack.down import down
from tasks.stack.layout import Layout
from tasks.stack.up import up
from tests.services import ANY_PORT


@pytest.fixture(autouse=True)
def _no_foreign_services(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests say themselves which services are external."""
    for key in ("S3__ENDPOINT", "MLFLOW__URL", "LABEL_STUDIO__URL", "AIRFLOW__URL"):
        monkeypatch.delenv(f"NIGHTSCOPE_{key}", raising=False)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A stack's folders, empty."""
    made = Layout.at(tmp_path / "state")
    made.create()
    return made


@pytest.fixture
def s3_stack(tmp_path: Path) -> Iterator[Layout]:
    """A stack of nothing but the real S3 server."""
    made = Layout.at(tmp_path / "state")
    up(made.state_dir, units=("s3",), preferred=ANY_PORT)
    yield made
    down(made.state_dir)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    """A stack of the real S3 server and MLflow."""
    made = Layout.at(tmp_path_factory.mktemp("stack") / "state")
    up(made.state_dir, units=("s3", "mlflow"), preferred=ANY_PORT)
    yield made
    down(made.state_dir)
