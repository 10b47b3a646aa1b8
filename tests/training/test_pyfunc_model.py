"""The registered model loads in a clean process, without Nightscope, and predicts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np

from tasks.config import Line
from tasks.lake import Lake
from tasks.training.detection import train_challenger
from tasks.training.detector import Detector
from tests.training.conftest import write_dataset

CLEAN = """
    import json, sys
    import mlflow, numpy as np
    mlflow.set_tracking_uri(sys.argv[1])
    model = mlflow.pyfunc.load_model(sys.argv[2])
    table = model.predict(np.load(sys.argv[3]), params={"conf": 0.0, "max_det": 20})
    assert "tasks" not in sys.modules
    print(json.dumps({"columns": list(table.columns), "rows": table.values.tolist(), "path": mlflow.__file__}))
"""


def test_loads_in_a_clean_process_and_predicts_what_the_detector_predicts(
    night_lake: Lake, line: Line, tmp_path: Path
) -> None:
    data = write_dataset(tmp_path / "data", val=False)
    recipe = line.recipe.model_copy(update={"plots": False})
    line = line.model_copy(update={"line": "served", "recipe": recipe})
    training = train_challenger(night_lake, line, "f" * 64, data, False, progress=lambda _: None)
    bgr = cv2.imread(str(tmp_path / "data/images/train/000.png"))
    np.save(tmp_path / "image.npy", np.ascontiguousarray(bgr[:, :, ::-1]))

    uri = f"models:/served/{training.model_version}"
    command = [sys.executable, "-P", "-c", textwrap.dedent(CLEAN), night_lake.settings.mlflow.url, uri, "image.npy"]
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr[-3000:]
    served = json.loads(done.stdout.splitlines()[-1])
    assert served["columns"] == ["x_px", "y_px", "width_px", "height_px", "label", "score"]
    detector = Detector(
        night_lake.blobs.fetch(training.weights_oid),
        oid=training.weights_oid,
        classes=("sperm", "impurity"),
        imgsz=64,
        config_dir=tmp_path / "yolo",
    )
    (ours,) = detector.predict([bgr], conf=0.0, iou=0.6, max_det=20)
    assert len(served["rows"]) == len(ours) > 0
    np.testing.assert_allclose([row[5] for row in served["rows"]], ours[:, 4], atol=1e-5)
    np.testing.assert_allclose([row[0] for row in served["rows"]], ours[:, 0], atol=1e-2)
    assert {row[4] for row in served["rows"]} <= {"sperm", "impurity"}
