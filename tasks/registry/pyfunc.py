"""The MLflow model of a training: a folder that loads anywhere its requirements are installed."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

REQUIREMENTS = ("mlflow", "ultralytics", "torch", "torchvision", "numpy", "pandas", "opencv-python-headless")


@contextmanager
def save_pyfunc(
    about: Mapping[str, Any], weights: Path, code: Path, *, modules: Sequence[Path] = (), model_id: str, run_id: str
) -> Iterator[Path]:
    """Make the model's folder, for as long as the block lasts.

    Args:
        about: Becomes `model.json`; must hold `classes`, `imgsz`, `predict`, `weights_sha256`.
        weights: Becomes the artifact `weights`.
        code: The models-from-code file; ends in `set_model(...)`.
        modules: Python files that it needs; each becomes an artifact called as the file is, without its suffix. (Not
            `code_paths`: of two versions loaded in one process the second would get the first one's modules.)
        model_id, run_id: The logged model and the run that this folder is of.
    """
    from mlflow.models import Model

    with tempfile.TemporaryDirectory(prefix="nightscope-model-") as scratch:
        root = Path(scratch)
        (root / "model.json").write_text(json.dumps(about, indent=2, sort_keys=True))
        (root / "weights.pt").write_bytes(weights.read_bytes())  # a blob's name has no suffix, and torch's must
        _save(
            path=str(root / "model"),
            python_model=str(code),
            artifacts={"weights": str(root / "weights.pt"), "model": str(root / "model.json")}
            | {path.stem: str(path) for path in modules},
            signature=signature(about["predict"]),
            pip_requirements=requirements(),
            mlflow_model=Model(model_uuid=model_id, model_id=model_id, run_id=run_id),
        )
        yield root / "model"


def _save(**arguments: Any) -> None:
    """Save, without the advice to give an example instead of a signature: we give the signature."""
    import mlflow.pyfunc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        mlflow.pyfunc.save_model(**arguments)


def signature(predict: Mapping[str, Any]) -> ModelSignature:
    """Image in (RGB, uint8, [height, width, 3]), table of boxes out; thresholds as parameters."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    kinds = {float: DataType.double, int: DataType.long, bool: DataType.boolean}
    numbers = ("x_px", "y_px", "width_px", "height_px")
    boxes = [ColSpec(DataType.double, name) for name in numbers]
    boxes += [ColSpec(DataType.string, "label"), ColSpec(DataType.double, "score")]
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, 3))]),
        outputs=Schema(boxes),
        params=ParamSchema([ParamSpec(name, kinds[type(value)], value) for name, value in sorted(predict.items())]),
    )


def requirements() -> list[str]:
    """Exact versions of what a model needs, as installed here; local build tags ('+cu130') left out."""
    found = []
    for name in REQUIREMENTS:
        try:
            found.append(f"{name}=={version(name).split('+')[0]}")
        except PackageNotFoundError:
            continue
    return found
