"""Registers small stand-in models: what the registry does with a model does not depend on what is in it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tasks.kind import Served
from tasks.registry import ModelRecord, Registry
from tasks.registry.models import ModelAbout

CODE = """
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Nothing(PythonModel):
    def predict(self, context, model_input, params=None):
        return []


set_model(Nothing())
"""


def about(line: str, run_key: str, weights: bytes = b"weights") -> ModelAbout:
    return ModelAbout(
        line=line,
        kind="detection",
        run_key=run_key,
        dataset_version="d" * 64,
        weights_oid=hashlib.sha256(weights).hexdigest(),
        classes=("sperm", "impurity"),
        imgsz=64,
        predict={"conf": 0.25, "iou": 0.7, "max_det": 300},
    )


def served(folder: Path) -> Served:
    """How a model of the tests is served: by `CODE`, written there."""
    sides = dict.fromkeys(("x_px", "y_px", "width_px", "height_px"), "double")
    return Served(code=folder / "code.py", columns=sides | {"label": "string", "score": "double"})


def make_version(registry: Registry, line: str, run_key: str, folder: Path) -> ModelRecord:
    """A run and a version of it."""
    (folder / "weights").write_bytes(b"weights")
    (folder / "code.py").write_text(CODE)
    run = registry.runs.open(line, run_key, name="test", tags={})
    return registry.register(about(line, run_key), mlflow_run=run, weights=folder / "weights", served=served(folder))
