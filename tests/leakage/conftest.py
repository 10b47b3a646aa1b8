"""Synthetic clips, made once: three donors, and copies of the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.synthetic import make_recordings
from tests.leakage.recorded import COPIES, Picture, pictures_of, write


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three different clips of 60 frames."""
    folder = tmp_path_factory.mktemp("clips")
    made = make_recordings(folder, count=3, seed=5, frames=60, width_px=384, height_px=288, sperm_per_frame=(12, 20))
    return [recording.path for recording in made]


@pytest.fixture(scope="session")
def original(clips: list[Path]) -> list[Picture]:
    """The first clip's frames."""
    return pictures_of(clips[0])


@pytest.fixture(scope="session")
def copies(original: list[Picture], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What is done to it -> the copy."""
    folder = tmp_path_factory.mktemp("copies")
    return {
        copy.what: write(folder / f"copy-{n}.mp4", copy.make(original), copy.crf, copy.fps_hz)
        for n, copy in enumerate(COPIES)
    }
