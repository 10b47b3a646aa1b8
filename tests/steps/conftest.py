"""An installation whose steps find their lake by the settings file, as in a night."""

from __future__ import annotations

import pytest

from tasks.config import Settings
from tasks.lake import Lake
from tests.services import use_external_s3


@pytest.fixture
def installed(settings: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A fresh lake that this process's steps use."""
    use_external_s3(settings.state_dir, settings.s3)
    monkeypatch.setenv("NIGHTSCOPE_STATE_DIR", str(settings.state_dir))
    return lake
