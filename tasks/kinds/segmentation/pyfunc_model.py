"""A segmenter as MLflow serves it: pictures in, a table of cells out. Logged as code ("models from code").

This file stands alone: MLflow copies it beside the weights, and it runs wherever its requirements are installed,
without Nightscope. Artifacts: `weights` (numbers and text, nothing that runs), `model` (model.json: classes, predict,
weights_sha256), and the files of the packages `networks` and `inference` and what they need, each under its own name.
"""

import hashlib
import importlib
import json
import os
import re
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

COLUMNS = ["picture", "cell", "label", "score", "x_px", "y_px", "width_px", "height_px", "area_px", "mask"]
_KIND = "kinds.segmentation"
_PLACES = {
    "errors": "errors", "channels": "config.channels",
    **{name: f"{_KIND}.{name}" for name in ("pictures", "stated", "stain", "instances", "architectures")},
    **{name: f"{_KIND}.inference.{name}" for name in ("predict", "tiles", "pieces", "joining", "disjoint")},
}  # fmt: skip
"""Where files belong; all others are networks."""


class CellSegmenter(PythonModel):  # type: ignore[misc]
    """Outlines the cells of one picture or of several."""

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
        root = _package({name: Path(path) for name, path in context.artifacts.items() if name not in _OWN})
        self.pictures = importlib.import_module(f"{root}.{_KIND}.pictures")
        self.inference = importlib.import_module(f"{root}.{_KIND}.inference.predict")
        self.network, self.spec = importlib.import_module(f"{root}.{_KIND}.networks.files").read(weights)

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """The cells of each picture, surest first; `params` may hold min_score (0: the model's own).

        Args:
            context: MLflow's.
            model_input: A picture as it was taken: a path, the bytes of a file (TIFF, PNG, JPEG ...), or an array
                [height, width] or [height, width, channels], uint8, uint16 or float; three channels are RGB, unless
                the model has a mapping of channels. Or several: a list of these, an array [n, height, width,
                channels], or a table of one column of paths or bytes.
            params: Instead of what the model says.

        Returns:
            `cell` counts from 0 within a picture; `mask` are COCO's compressed run lengths of the whole picture.
        """
        options = {**self.about["predict"], **(params or {})}
        least = float(options.get("min_score") or 0.0) or None
        rows = []
        for index, each in enumerate(_several(model_input)):
            found = self.inference.predict_picture(self.network, self.spec, self._picture(each), least)
            rows += [(index, *row) for row in _rows(found, self.spec["classes"])]
        return pd.DataFrame(rows, columns=COLUMNS)

    def _picture(self, given: Any) -> Any:
        channels = self.spec["input"].get("channels")
        if isinstance(given, str | Path | bytes):
            return self.pictures.read_picture(given, channels)
        picture = np.asarray(given)
        if picture.ndim not in (2, 3) or picture.dtype.kind not in "uf" or not picture.size:
            raise ValueError(
                f"expected a picture [height, width] or [height, width, channels]; found {picture.dtype} "
                f"{picture.shape}"
            )
        if picture.dtype not in (np.uint8, np.uint16):
            picture = picture.astype(np.float32)
        return self.pictures.mapped(picture, channels or {})


def _rows(found: Any, classes: list[str]) -> list[tuple[Any, ...]]:
    from pycocotools import mask as coco

    masks = [{"size": [found.height_px, found.width_px], "counts": text.encode("ascii")} for text in found.masks]
    if not masks:
        return []
    boxes, areas = coco.toBbox(masks), coco.area(masks)
    return [
        (cell, classes[int(found.labels[cell])], float(found.scores[cell]), *map(float, boxes[cell]),
         int(areas[cell]), found.masks[cell])
        for cell in range(len(masks))
    ]  # fmt: skip


def _several(given: Any) -> list[Any]:
    if isinstance(given, pd.DataFrame):
        if given.shape[1] != 1:
            raise ValueError(f"expected a table of one column, paths or bytes; found {list(given.columns)}")
        return list(given.iloc[:, 0])
    if isinstance(given, np.ndarray) and given.ndim in (2, 3):
        return [given]
    return [given] if isinstance(given, str | bytes | Path) else list(given)


_OWN = {"weights", "model"}


def _package(files: dict[str, Path]) -> str:
    """Make a model's files importable as a package of its own: another version loaded beside it has another.

    Returns:
        The package's name, by the files' content. They know each other as parts of `tasks`, and are read as its parts.
    """
    digest = hashlib.sha256(b"".join(name.encode() + path.read_bytes() for name, path in sorted(files.items())))
    root = f"nightscope_{digest.hexdigest()[:16]}"
    if not any(isinstance(finder, _Finder) and finder.root == root for finder in sys.meta_path):
        places = {name: _PLACES.get(name, f"{_KIND}.networks.{name}") for name in files}
        sys.meta_path.append(_Finder(root, {f"{root}.{places[name]}": path for name, path in files.items()}))
    return root


class _Finder(MetaPathFinder, Loader):
    """Finds a model's modules; what is between them are packages without content."""

    def __init__(self, root: str, files: dict[str, Path]) -> None:
        self.root = root
        self._sources = {name: path.read_text(encoding="utf-8") for name, path in files.items()}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """A module of this model, or a package above one."""
        if name in self._sources:
            return ModuleSpec(name, self, origin=name)
        if any(each.startswith(f"{name}.") for each in self._sources):
            return ModuleSpec(name, None, is_package=True)
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run a module's file."""
        source = re.sub(r"(?m)^(\s*(?:from|import) )tasks\b", rf"\1{self.root}", self._sources[module.__name__])
        exec(compile(source, module.__name__, "exec"), module.__dict__)


set_model(CellSegmenter())
