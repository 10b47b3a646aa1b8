"""The MLflow model of a training: a folder that loads anywhere its requirements are installed."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.kind import Served

if TYPE_CHECKING:
    from mlflow.models import ModelSignature


@contextmanager
def save_pyfunc(
    about: Mapping[str, Any], weights: Path, served: Served, *, model_id: str, run_id: str
) -> Iterator[Path]:
    """Make the model's folder, for as long as the block lasts.

    Args:
        about: Becomes `model.json`; must hold `classes`, `imgsz`, `predict`, `weights_sha256`.
        weights: Becomes the artifact `weights`.
        served: The code that serves it. Each of its modules becomes an artifact called as the file is, without its
            suffix. (Not `code_paths`: of two versions loaded in one process the second would get the first's modules.)
        model_id, run_id: The logged model and the run that this folder is of.
    """
    from mlflow.models import Model

    with tempfile.TemporaryDirectory(prefix="nightscope-model-") as scratch:
        root = Path(scratch)
        (root / "model.json").write_text(json.dumps(about, indent=2, sort_keys=True))
        kept = root / served.weights_name  # a blob's name has no suffix, and libraries go by it
        kept.write_bytes(weights.read_bytes())
        _save(
            path=str(root / "model"),
            python_model=str(served.code),
            artifacts={"weights": str(kept), "model": str(root / "model.json")}
            | {path.stem: str(path) for path in served.modules},
            signature=signature(about["predict"], served.columns, any_input=served.any_input),
            pip_requirements=requirements(served.requirements),
            mlflow_model=Model(model_uuid=model_id, model_id=model_id, run_id=run_id),
        )
        yield root / "model"


def _save(**arguments: Any) -> None:
    """Save, without the advice to give an example instead of a signature: we give the signature."""
    import mlflow.pyfunc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        mlflow.pyfunc.save_model(**arguments)


def signature(predict: Mapping[str, Any], columns: Mapping[str, str], *, any_input: bool = False) -> ModelSignature:
    """Image in (RGB, uint8, [height, width, 3]; or what the model takes), table of `columns` (name -> type) out;
    thresholds as parameters."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    kinds = {float: DataType.double, int: DataType.long, bool: DataType.boolean}
    params = [ParamSpec(name, kinds[type(value)], value) for name, value in sorted(predict.items())]
    return ModelSignature(
        inputs=None if any_input else Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, 3))]),
        outputs=Schema([ColSpec(DataType[kind], name) for name, kind in columns.items()]),
        params=ParamSchema(params) if params else None,
    )


def requirements(names: Iterable[str]) -> list[str]:
    """Exact versions of what a model needs, as installed here; local build tags ('+cu130') left out."""
    found = []
    for name in names:
        try:
            found.append(f"{name}=={version(name).split('+')[0]}")
        except PackageNotFoundError:
            continue
    return found
