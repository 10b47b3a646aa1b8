"""A detector as MLflow serves it: an image in, a table of boxes out. Logged as code ("models from code").

This file stands alone: MLflow copies it beside the weights, and it runs wherever its requirements are installed,
without Nightscope. Artifacts: `weights` (a .pt), `model` (model.json: classes, imgsz, predict, weights_sha256) and
`views` (views.py, which looks at mirrored views and at tiles, where `predict` says so), `ultralytics_layers`
(ultralytics_layers.py, layers of ours that a .pt may hold), `retinanet` (retinanet.py, which reads and runs the
weights of a detector with anchors: a safetensors file), `ensembles` (ensembles.py, which reads the weights of several
detectors, and fuses what they find), and `speckle_unet` (speckle_unet.py, which puts images through the denoiser that
weights may carry).
"""

import hashlib
import importlib.util
import json
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

COLUMNS = ["x_px", "y_px", "width_px", "height_px", "label", "score"]


class BoxDetector(PythonModel):  # type: ignore[misc]
    """Predicts boxes. The image is RGB, uint8, [height, width, 3]; x_px, y_px is a box's top left corner."""

    def load_context(self, context: Any) -> None:
        """Check the weights against their sha256, then load them so that nothing in them can run."""
        about = json.loads(Path(context.artifacts["model"]).read_text())
        weights = Path(context.artifacts["weights"])
        found = hashlib.sha256(weights.read_bytes()).hexdigest()
        if found != about["weights_sha256"]:
            raise ValueError(f"{weights}: sha256 is {found}, expected {about['weights_sha256']}: not loading it")
        self.about, self.anchored = about, None
        self.denoiser: Any = None
        self.speckle_unet = _module(Path(context.artifacts["speckle_unet"]))
        self.views = _module(Path(context.artifacts["views"]))
        if weights.read_bytes()[8:9] == b"{":
            self.anchored = _module(Path(context.artifacts["retinanet"]))
            self.model, _ = self.anchored.read(weights)
            self._carry(self.anchored.carried(weights))
            return
        os.environ.setdefault("YOLO_OFFLINE", "1")
        if not os.environ.get("YOLO_CONFIG_DIR"):
            os.environ["YOLO_CONFIG_DIR"] = _private_folder()
        Path(os.environ["YOLO_CONFIG_DIR"]).mkdir(parents=True, exist_ok=True)
        os.environ["ULTRALYTICS_SAFE_LOAD"] = os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
        os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
        from ultralytics import YOLO
        from ultralytics.nn import tasks

        tasks.SAFE_LOAD = True  # somebody may have imported it before, with the switch off
        if not tasks._SafeLoad.SUPPORTED:
            raise ValueError("this torch cannot load weights without running what they hold: take one from 2.6 on")
        _module(Path(context.artifacts["ultralytics_layers"])).allow()
        self.ensembles = _module(Path(context.artifacts["ensembles"]))
        if self.ensembles.is_ensemble(weights):
            with tempfile.TemporaryDirectory(prefix="nightscope-members-") as folder:
                paths = self.ensembles.unpack(weights, Path(folder))
                self.models = [YOLO(str(path), task="detect") for path in paths]
        else:
            self.models = [YOLO(str(weights), task="detect")]
        self._carry(self.models[0].ckpt.get("denoiser"))  # all members learned from the same frames

    def _carry(self, file: Any) -> None:
        """Load the denoiser whose file's bytes the weights carry; None: they carry none."""
        if file is not None:
            self.denoiser, _ = self.speckle_unet.read(file.numpy().tobytes())

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Boxes of one image, best score first. `params` may hold conf, iou, max_det, tta, slice_px, slice_overlap."""
        image = np.asarray(model_input)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"expected one RGB image, uint8 [height, width, 3]; found {image.dtype} {image.shape}")
        given = {key: value for key, value in (params or {}).items() if key in self.about["predict"]}
        options = {**self.about["predict"], **given}

        def find(images: Any, imgsz: int, conf: float) -> list[Any]:
            if self.anchored is not None:
                least = {"iou": options["iou"], "max_det": options["max_det"]}
                return list(self.anchored.find(self.model, images, imgsz, conf, **least))
            return [self._look(one, imgsz, conf, options) for one in images]

        bgr = np.ascontiguousarray(image[:, :, ::-1])
        if self.denoiser is not None:
            bgr = self.speckle_unet.denoise(self.denoiser, bgr)
        (boxes,) = self.views.find_objects(find, [bgr], imgsz=self.about["imgsz"], **options)
        boxes = boxes.astype(float)
        labels = [self.about["classes"][int(index)] for index in boxes[:, 5]]
        sizes = boxes[:, 2:4] - boxes[:, :2]
        columns = [*boxes[:, :2].T, *sizes.T, labels, boxes[:, 4]]
        return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)), columns=COLUMNS)

    def _look(self, image: Any, imgsz: int, conf: float, options: dict[str, Any]) -> Any:
        """One look at an image, by all members where there are several: float32 [n, 6]."""
        count = len(self.models)
        limits = {"conf": conf / count, "iou": options["iou"], "max_det": options["max_det"], "imgsz": imgsz}
        image = np.ascontiguousarray(image)
        results = [model.predict(image, verbose=False, save=False, **limits)[0] for model in self.models]
        found = [each.boxes.data.cpu().numpy().astype(np.float32, copy=False).reshape(-1, 6) for each in results]
        if count == 1:
            return found[0]
        boxes = self.ensembles.fuse(found, *image.shape[:2])
        return boxes[boxes[:, 4] >= conf][: options["max_det"]]


def _private_folder() -> str:
    """A folder in the system's temporary folder that only we can write to; anybody may have made ours before us."""
    folder = Path(tempfile.gettempdir()) / f"nightscope-yolo-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
        return str(folder)
    return tempfile.mkdtemp(prefix="nightscope-yolo-")


def _module(path: Path) -> Any:
    """A module of this model's own: another version loaded beside it has another."""
    spec = importlib.util.spec_from_file_location(f"nightscope_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path}: is no Python module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


set_model(BoxDetector())
