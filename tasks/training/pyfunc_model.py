"""A detector as MLflow serves it: an image in, a table of boxes out. Logged as code ("models from code").

This file stands alone: MLflow copies it beside the weights, and it runs wherever its requirements are installed,
without Nightscope. Artifacts: `weights` (a .pt) and `model` (model.json: classes, imgsz, predict, weights_sha256).
"""

import hashlib
import json
import os
import tempfile
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
        """Check the weights against their sha256 (a .pt is code), then load them."""
        about = json.loads(Path(context.artifacts["model"]).read_text())
        weights = Path(context.artifacts["weights"])
        found = hashlib.sha256(weights.read_bytes()).hexdigest()
        if found != about["weights_sha256"]:
            raise ValueError(f"{weights}: sha256 is {found}, expected {about['weights_sha256']}: not loading it")
        os.environ.setdefault("YOLO_OFFLINE", "1")
        os.environ.setdefault("YOLO_CONFIG_DIR", str(Path(tempfile.gettempdir()) / f"nightscope-yolo-{os.getuid()}"))
        Path(os.environ["YOLO_CONFIG_DIR"]).mkdir(parents=True, exist_ok=True)
        from ultralytics import YOLO

        self.about = about
        self.model = YOLO(str(weights), task="detect")

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Boxes of one image, best score first. `params` may hold conf, iou, max_det."""
        image = np.asarray(model_input)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"expected one RGB image, uint8 [height, width, 3]; found {image.dtype} {image.shape}")
        given = {key: value for key, value in (params or {}).items() if key in self.about["predict"]}
        options = {**self.about["predict"], **given}
        bgr = np.ascontiguousarray(image[:, :, ::-1])
        boxes = self.model.predict(bgr, imgsz=self.about["imgsz"], verbose=False, save=False, **options)[0].boxes
        corners = boxes.xyxy.cpu().numpy().astype(float)
        labels = [self.about["classes"][int(index)] for index in boxes.cls.cpu().numpy()]
        sizes = corners[:, 2:] - corners[:, :2]
        columns = [*corners[:, :2].T, *sizes.T, labels, boxes.conf.cpu().numpy().astype(float)]
        return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)), columns=COLUMNS)


set_model(BoxDetector())
