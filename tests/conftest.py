"""Fixtures that every test may use: a real S3 server, and a fresh lake on it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.config import Settings
from tasks.lake import Lake, open_lake
from tests.s3_servers import S3Server, rclone


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The real rclone on a free port, for the whole session."""
    with rclone(tmp_path_factory.mktemp("s3") / "served") as server:
        yield server


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
