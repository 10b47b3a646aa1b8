"""A line of four recordings whose training takes seconds."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks import steps
from tasks.config import Settings, load_settings
from tasks.lake import Lake, open_lake
from tasks.registry import open_registry
from tasks.session import open_session
from tests.datasets.scenes import background, clip, jpeg, perceptual_hash
from tests.validation.factory import a_box, a_recording, an_annotation, fill, put_frame

LINE = f"cells-{uuid.uuid4().hex[:8]}"
"""Of this process alone: the processes of a test run share one MLflow, where models go by the line's name."""
SPLITS = ("train", "train", "test", "val")
RECORDINGS, FRAMES = len(SPLITS), 4


def small_line(settings: Settings, folder: Path) -> dict[str, str]:
    """Make the line, and in the lake what its night would learn from: recordings, frames, labels.

    Returns:
        The environment that leads to it.
    """
    lines = folder / "lines"
    lines.mkdir()
    recipe = {"name": "detection-from-scratch", "model": "p3-tiny.yaml", "imgsz": 64, "batch": 4, "nbs": 4}
    line = {
        "line": LINE, "kind": "detection", "classes": ["sperm", "impurity"],
        "minimums": {"recordings": 3, "labels": {"sperm": 3}},
        "recipe": recipe | {"epochs": 1, "min_steps": 2, "plots": False, "seed": 3},
        "evaluation": {"resamples": 100, "min_clusters": 2},
        "gates": [{"metric": "AP50", "at_least": 0.0}],
    }  # fmt: skip
    (lines / f"{LINE}.yaml").write_text(yaml.safe_dump(line))
    lake = open_lake(settings)
    lake.landing.ensure_bucket()
    lake.store.ensure_bucket()
    _fill(lake)
    return {"NIGHTSCOPE_STATE_DIR": str(settings.state_dir), "NIGHTSCOPE_LINES_DIR": str(lines)}


@contextmanager
def steps_use(environment: dict[str, str]) -> Iterator[Settings]:
    """Point this process's steps, and the commands that it runs, at an installation."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield load_settings()


def copies_of_one_clip(lake: Lake, lines: Path) -> str:
    """Another line, of four donors of which two brought the same clip under two encodings. Returns its name."""
    name = "copies"
    (lines / f"{name}.yaml").write_text((lines / f"{LINE}.yaml").read_text().replace(f"line: {LINE}", f"line: {name}"))
    recordings, frames = [], []
    for number, split in enumerate(("train", "train", "train", "test")):
        clip_of, quality = (0, 60) if number == 1 else (number, 95)
        recording = a_recording(f"copy{number}", number, donor=f"copier{number}", pinned_split=split)
        recordings.append(recording)
        for index, picture in enumerate(clip(clip_of, 5, background(clip_of))):
            data, phash = jpeg(picture, quality), perceptual_hash(picture)
            frames.append(put_frame(lake, recording, index, line=name, data=data, phash=phash))
    fill(lake, recordings, frames, [an_annotation(frame) for frame in frames])
    return name


def freeze() -> str:
    """The dataset version that tonight's night would freeze."""
    validation = steps.validate_labels(open_session(), LINE)
    return steps.freeze_dataset(open_session(), LINE, {}, validation.validation_oid, force=True).dataset_version


def left_alone(settings: Settings) -> dict[str, Any]:
    """What no experiment may change: the line's nights, dataset versions, model versions and champion."""
    lake, registry = open_lake(settings), open_registry(settings)
    return {
        "versions": lake.datasets.versions(LINE),
        "models": registry.versions(LINE),
        "champion": registry.champion(LINE),
        "nights": [(info.key, info.etag) for info in lake.store.list(f"nights/{LINE}/")],
    }


def _fill(lake: Lake) -> None:
    recordings = [
        a_recording(f"r{number}", number, donor=f"d{number}", pinned_split=SPLITS[number])
        for number in range(RECORDINGS)
    ]
    frames = [put_frame(lake, recording, index, line=LINE) for recording in recordings for index in range(FRAMES)]
    annotations = [
        an_annotation(frame, [a_box("sperm", 8, 8), a_box("impurity", 30 + frame.frame_index, 20, 12, 10)])
        for frame in frames
    ]
    fill(lake, recordings, frames, annotations)
