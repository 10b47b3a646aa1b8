"""A segmenter as MLflow serves it: pictures in, a table of cells out."""

from __future__ import annotations

from pathlib import Path

from tasks.config import channels
from tasks.kind import Served

_HERE = Path(__file__).parent


def _modules(folder: str) -> tuple[Path, ...]:
    """A package's files; without `__init__.py`, which only names what is in them."""
    return tuple(path for path in sorted((_HERE / folder).glob("*.py")) if path.stem != "__init__")


SERVED = Served(
    code=_HERE / "pyfunc_model.py",
    modules=(
        *_modules("networks"),
        *_modules("inference"),
        *(_HERE / f"{name}.py" for name in ("pictures", "stated", "stain", "instances", "architectures")),
        Path(channels.__file__),
        _HERE.parents[1] / "errors.py",
    ),
    requirements=(
        "mlflow", "timm", "torch", "torchvision", "torchstain", "transformers", "ultralytics", "numpy", "pandas",
        "opencv-python-headless", "pycocotools", "tifffile", "imagecodecs", "pillow",
    ),
    columns={
        "picture": "long", "cell": "long", "label": "string", "score": "double", "x_px": "double", "y_px": "double",
        "width_px": "double", "height_px": "double", "area_px": "long", "mask": "string",
    },
    any_input=True,
)  # fmt: skip
