"""A small synthetic recording, made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.synthetic import SyntheticRecording, make_recordings


@pytest.fixture(scope="session")
def small() -> dict[str, Any]:
    """Arguments of a recording that is made in no time."""
    return {"count": 1, "seed": 7, "frames": 40, "width_px": 256, "height_px": 192, "sperm_per_frame": (6, 9)}


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory, small: dict[str, Any]) -> SyntheticRecording:
    folder: Path = tmp_path_factory.mktemp("synthetic")
    (made,) = make_recordings(folder, **small)
    return made
