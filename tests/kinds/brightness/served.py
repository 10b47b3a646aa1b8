"""The threshold as MLflow serves it."""

from __future__ import annotations

from pathlib import Path

from tasks.kind import Served

SERVED = Served(
    code=Path(__file__).with_name("pyfunc_model.py"),
    weights_name="weights.json",
    requirements=("mlflow", "numpy", "pandas", "opencv-python-headless"),
    columns={"label": "string", "score": "double"},
)
