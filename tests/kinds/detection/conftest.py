"""The fixtures of the training tests hold for the detector's, too."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training.conftest import line as line
from tests.training.conftest import mlflow_url as mlflow_url
from tests.training.conftest import night_lake as night_lake


@pytest.fixture
def every_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after each epoch, however cheap it is."""
    from tasks.training.worker_reports import Checkpoints

    real = Checkpoints.write

    def write(self: Checkpoints, *where: Any, **how: Any) -> None:
        self._cost_s = 0.0
        real(self, *where, **how)

    monkeypatch.setattr(Checkpoints, "write", write)
