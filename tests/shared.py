"""Services that all tests of a run share, also between pytest-xdist's workers: started once, by whoever comes first.

Tests share a server as a lab's lines do: each has lines, buckets and folders of its own, and harms nobody else's. What
stops or damages a service has services of its own (`tests.services.running`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from tasks.config import Settings, load_settings
from tasks.session import Session, open_session
from tasks.stack.down import down
from tasks.stack.up import up
from tests.services import ANY_PORT, sign_in

LEAST_PATIENCE_S = 550


def run_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run see."""
    base = factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    shared.mkdir(exist_ok=True, mode=0o700)
    return shared


def shared_stack(factory: pytest.TempPathFactory, name: str, units: Collection[str]) -> Settings:
    """Settings that reach the run's services `name`; started unless another test or worker has done so."""
    folder = run_folder(factory) / name
    with FileLock(f"{folder}.lock", timeout=LEAST_PATIENCE_S):
        if not (folder / "ready").exists():
            folder.mkdir(exist_ok=True, mode=0o700)
            (folder / "begun").touch()  # to be ended also when it never gets ready
            up(folder, units=units, preferred=ANY_PORT)
            (folder / "ready").touch()
    settings = load_settings(folder)
    sign_in(settings)
    return settings


@contextmanager
def lab_on(services: Settings, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Session]:
    """An installation on shared services, with lines of its own in `folder`/lines; this process uses it."""
    (folder / "lines").mkdir()
    patch.setenv("NIGHTSCOPE_STATE_DIR", str(services.state_dir))
    patch.setenv("NIGHTSCOPE_LINES_DIR", str(folder / "lines"))
    with open_session(services.model_copy(update={"lines_dir": folder / "lines"})) as session:
        for store in (session.lake.landing, session.lake.store, session.lake.frames.store):
            store.ensure_bucket()
        yield session


def end_shared(base: Path) -> None:
    """End what `shared_stack` started; for the process that is left when all workers are done."""
    for begun in sorted((base / "shared").glob("*/begun")):
        down(begun.parent)
