"""An installation to break: settings file, S3 server and a lake; its services are those of a test's own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.config import HOME, Settings
from tasks.lake import Lake
from tasks.operations.doctor import Finding, Patient, examine
from tasks.stack.services import UNITS
from tests.services import running, use_external_s3

Look = Callable[..., list[Finding]]


def look(state_dir: Path, *names: str) -> list[Finding]:
    """What the doctor finds in an installation; this process's environment counts, as on a command line."""
    return list(examine(Patient(state_dir, os.environ), names).findings)


@pytest.fixture
def home(settings: Settings, lake: Lake) -> Path:
    """The state folder of a small installation on the run's S3 server, with one append in each table's way."""
    settings.state_dir.mkdir(exist_ok=True)
    settings.state_dir.chmod(0o700)
    use_external_s3(settings.state_dir, settings.s3)
    lake.frames.store.ensure_bucket()
    return settings.state_dir


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The whole embedded stack, with DAGs of its own to break."""
    base = tmp_path_factory.mktemp("doctor")
    for folder in ("dags", "plugins"):
        shutil.copytree(HOME / folder, base / "home" / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (base / "home/.nightscope").mkdir()
    (base / "home/.nightscope/envs").symlink_to(HOME / ".nightscope/envs")
    with running(base / "state", UNITS, home=base / "home") as settings:
        yield settings
