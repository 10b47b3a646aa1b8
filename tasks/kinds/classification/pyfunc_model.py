"""A classifier as MLflow serves it: pictures in, a table of probabilities out. Logged as code ("models from code").

This file stands alone: MLflow copies it beside the weights, and it runs wherever its requirements are installed,
without Nightscope. Artifacts: `weights` (numbers and text, nothing that runs), `model` (model.json: classes, predict,
weights_sha256), `networks` and `inference` (networks.py, inference.py).
"""

import hashlib
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

COLUMNS = ["picture", "label", "probability"]


class PictureClassifier(PythonModel):  # type: ignore[misc]
    """Says how probable each class is, for one picture or several."""

    def load_context(self, context: Any) -> None:
        """Check the weights against their sha256, then load them so that nothing in them can run."""
        about = json.loads(Path(context.artifacts["model"]).read_text())
        weights = Path(context.artifacts["weights"])
        found = hashlib.sha256(weights.read_bytes()).hexdigest()
        if found != about["weights_sha256"]:
            raise ValueError(f"{weights}: sha256 is {found}, expected {about['weights_sha256']}: not loading it")
        os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
        os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
        self.about = about
        self.inference = _module(Path(context.artifacts["inference"]))
        self.network, self.spec = _module(Path(context.artifacts["networks"])).read(weights)

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Probabilities of all classes, the most probable one of each picture first; `params` may hold tta.

        Args:
            context: MLflow's.
            model_input: A picture: an RGB array, uint8 [height, width, 3] (or grey, [height, width]), a path, or the
                bytes of a file. Or several: a list of these, or an array [n, height, width, 3], or a table of one
                column of paths or bytes.
            params: Instead of what the model says.
        """
        options = {**self.about["predict"], **(params or {})}
        pictures = [_picture(each) for each in _several(model_input)]
        chances = self.inference.predict(self.network, pictures, self.spec, tta=bool(options["tta"]))
        rows = []
        for index, row in enumerate(chances):
            order = np.argsort(-row, kind="stable")
            rows += [(index, self.spec["classes"][place], float(row[place])) for place in order]
        return pd.DataFrame(rows, columns=COLUMNS)


def _several(given: Any) -> list[Any]:
    if isinstance(given, pd.DataFrame):
        if given.shape[1] != 1:
            raise ValueError(f"expected a table of one column, paths or bytes; found {list(given.columns)}")
        return list(given.iloc[:, 0])
    if isinstance(given, np.ndarray) and given.ndim in (2, 3):
        return [given]
    return [given] if isinstance(given, str | bytes | Path) else list(given)


def _picture(given: Any) -> Any:
    """One picture as RGB, uint8 [height, width, 3]."""
    if isinstance(given, str | Path):
        given = Path(given).read_bytes()
    if isinstance(given, bytes):
        found = cv2.imdecode(np.frombuffer(given, np.uint8), cv2.IMREAD_COLOR) if given else None
        if found is None:
            raise ValueError("expected the bytes of a picture (PNG, JPEG, BMP, TIFF); found others")
        return cv2.cvtColor(found, cv2.COLOR_BGR2RGB)
    picture = np.asarray(given)
    if picture.ndim == 2 and picture.dtype == np.uint8:
        picture = np.repeat(picture[:, :, None], 3, axis=2)
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
        raise ValueError(f"expected an RGB picture, uint8 [height, width, 3]; found {picture.dtype} {picture.shape}")
    return np.ascontiguousarray(picture)


def _module(path: Path) -> Any:
    """A module of this model's own: another version loaded beside it has another."""
    spec = importlib.util.spec_from_file_location(f"nightscope_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path}: is no Python module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


set_model(PictureClassifier())
