"""A classifier as MLflow serves it: pictures in, a table of probabilities out."""

from __future__ import annotations

from pathlib import Path

from tasks.kind import Served

SERVED = Served(
    code=Path(__file__).with_name("pyfunc_model.py"),
    modules=(Path(__file__).with_name("networks.py"), Path(__file__).with_name("inference.py")),
    requirements=("mlflow", "timm", "torch", "torchvision", "numpy", "pandas", "opencv-python-headless"),
    columns={"picture": "long", "label": "string", "probability": "double"},
    any_input=True,
)
