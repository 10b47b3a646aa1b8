"""Fixtures of the labeling tests: a lake with frames, and a line whose project nobody else uses."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tasks.config import LabelStudioSettings, Line, Settings
from tasks.labeling.client import LabelStudio
from tasks.lake import Lake, open_lake
from tasks.stack.ports import any_port
from tests.labeling.annotators import a_line
from tests.s3_servers import S3Server
from tests.services import running


@pytest.fixture(scope="session")
def label_studio(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioSettings]:
    """The real Label Studio, for the whole session."""
    with running(tmp_path_factory.mktemp("label-studio"), ("label-studio",), s3=s3_server.settings) as found:
        yield found.label_studio


@pytest.fixture
def lake(settings: Settings, label_studio: LabelStudioSettings) -> Lake:
    """A fresh, empty lake whose settings know Label Studio."""
    fresh = open_lake(settings.model_copy(update={"label_studio": label_studio}))
    fresh.landing.ensure_bucket()
    fresh.store.ensure_bucket()
    return fresh


@pytest.fixture
def line() -> Line:
    """A detection line of a name that no other test has."""
    return a_line(f"sperm-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def client(label_studio: LabelStudioSettings) -> Iterator[LabelStudio]:
    """Label Studio as the API user: in these tests, the annotator."""
    with LabelStudio(label_studio) as opened:
        yield opened


@pytest.fixture
def unused_url() -> str:
    """Where nobody listens."""
    return f"http://127.0.0.1:{any_port()}"
