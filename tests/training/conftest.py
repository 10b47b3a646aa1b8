"""A tiny dataset and model that train in seconds, a real MLflow, a lake that knows it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tasks.config import Line, Settings, parse_line
from tasks.kinds.detection.recipe import ARCHITECTURES
from tasks.lake import Lake, open_lake

TINY_MODEL = (ARCHITECTURES / "p3-tiny.yaml").read_text()


def write_dataset(folder: Path, *, val: bool, images: int = 8) -> Path:
    """White squares (`sperm`) and grey bars (`impurity`) on black, in YOLO's layout. Returns data.yaml."""
    random = np.random.default_rng(0)
    for split in ("train", "val") if val else ("train",):
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
        for index in range(images if split == "train" else 4):
            image = random.integers(0, 30, (64, 64, 3), dtype=np.uint8)
            rows = []
            for label, (w, h), grey in ((0, (12, 12), 250), (1, (20, 6), 120)):
                x, y = random.integers(0, 64 - w), random.integers(0, 64 - h)
                image[y : y + h, x : x + w] = grey
                rows.append(f"{label} {(x + w / 2) / 64:.6f} {(y + h / 2) / 64:.6f} {w / 64:.6f} {h / 64:.6f}")
            cv2.imwrite(str(folder / "images" / split / f"{index:03d}.png"), image)
            (folder / "labels" / split / f"{index:03d}.txt").write_text("\n".join(rows))
    lines = [f"path: {folder}", "train: images/train", *(["val: images/val"] if val else [])]
    (folder / "data.yaml").write_text("\n".join([*lines, "names: {0: sperm, 1: impurity}", ""]))
    return folder / "data.yaml"


@pytest.fixture(scope="session")
def mlflow_url(registry_stack: Settings) -> str:
    """The real MLflow, its artifacts in the real S3 server."""
    return registry_stack.mlflow.url


@pytest.fixture
def line() -> Line:
    """A line that trains in seconds."""
    recipe = {
        "name": "detection-from-scratch",
        "model": "p3-tiny.yaml",
        "imgsz": 64,
        "batch": 4,
        "nbs": 4,
        "epochs": 4,
    }
    return parse_line(
        {
            "line": "tiny-detector",
            "kind": "detection",
            "classes": ["sperm", "impurity"],
            "recipe": recipe | {"min_steps": 4, "seed": 3},
            "gates": [{"metric": "AP50", "at_least": 0.1}],
        },
        "test",
    )


@pytest.fixture
def night_lake(lake: Lake, mlflow_url: str) -> Lake:
    """A fresh lake whose installation knows MLflow."""
    return lake_with_mlflow(lake, mlflow_url)


def lake_with_mlflow(lake: Lake, url: str) -> Lake:
    """The same lake in an installation whose MLflow is at `url`."""
    return open_lake(lake.settings.model_copy(update={"mlflow": lake.settings.mlflow.model_copy(update={"url": url})}))
