"""A detector as MLflow serves it: an image in, a table of boxes out."""

from __future__ import annotations

from pathlib import Path

from tasks.kind import Served
from tasks.kinds.detection.denoised_layout import DENOISING
from tasks.training import ultralytics_offline

SERVED = Served(
    code=Path(__file__).with_name("pyfunc_model.py"),
    modules=(
        Path(__file__).with_name("views.py"), Path(__file__).with_name("ensembles.py"),
        Path(__file__).with_name("anchored") / "retinanet.py",
        Path(ultralytics_offline.__file__).with_name("ultralytics_layers.py"), DENOISING,
    ),
    requirements=(
        "mlflow", "ultralytics", "torch", "torchvision", "timm", "safetensors", "numpy", "pandas",
        "opencv-python-headless", "ensemble-boxes",
    ),
    columns=dict.fromkeys(("x_px", "y_px", "width_px", "height_px"), "double") | {"label": "string", "score": "double"},
)  # fmt: skip
