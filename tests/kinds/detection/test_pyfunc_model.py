"""The registered model loads in a clean process, without Nightscope, and predicts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tasks.config import Line, RecipeChoice, Settings
from tasks.kind import ModelRef
from tasks.kinds import kind_of
from tasks.kinds.detection.denoised import carried, oid_of
from tasks.kinds.detection.denoised_layout import prepared
from tasks.kinds.detection.detector import Detector
from tasks.kinds.detection.recipe import PredictOptions, load_recipe
from tasks.lake import Lake
from tasks.training.train import train_challenger
from tests.kinds.detection.test_denoised import denoiser_file
from tests.training.conftest import write_dataset

DETECTION = kind_of("detection")

CLEAN = """
    import json, sys
    import mlflow, numpy as np
    mlflow.set_tracking_uri(sys.argv[1])
    model = mlflow.pyfunc.load_model(sys.argv[2])
    image = np.load(sys.argv[3])
    table = model.predict(image, params={"conf": 0.0, "max_det": 20})
    sliced = model.predict(image, params={"conf": 0.0, "max_det": 20, "tta": True, "slice_px": 64})
    assert "tasks" not in sys.modules
    rows = {"rows": table.values.tolist(), "sliced": sliced.values.tolist()}
    print(json.dumps({"columns": list(table.columns), **rows}))
"""


ANCHORED = {"name": "ultrasound-anchors", "backbone": "tiny", "weights": None, "width": 16, "imgsz": 64, "batch": 4,
            "epochs": 2, "min_steps": 0, "lr0": 0.005, "anchors_per_level": 1, "seed": 3}  # fmt: skip


def in_a_clean_process(folder: Path, registry_stack: Settings, uri: str) -> dict[str, Any]:
    """What MLflow's model says of `image.npy` where Nightscope is not."""
    command = [sys.executable, "-P", "-c", textwrap.dedent(CLEAN), registry_stack.mlflow.url, uri, "image.npy"]
    reader = {
        "MLFLOW_TRACKING_USERNAME": "reader",  # whoever may look may load
        "MLFLOW_TRACKING_PASSWORD": registry_stack.mlflow.reader_password.get_secret_value(),
    }
    clean = {"PATH": os.environ["PATH"], "HOME": str(folder), "MLFLOW_DISABLE_TELEMETRY": "true"} | reader
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_a_detector_with_anchors_is_trained_by_the_worker_published_and_served_too(
    night_lake: Lake, line: Line, tmp_path: Path, registry_stack: Settings
) -> None:
    """Behind a denoiser, which its weights carry to where Nightscope is not."""
    oid = night_lake.blobs.put_file(denoiser_file(tmp_path))
    recipe = RecipeChoice.model_validate({**ANCHORED, "denoiser": oid})
    line = line.model_copy(update={"line": "anchored", "recipe": recipe})
    data = prepared(night_lake, write_dataset(tmp_path / "data", val=True), load_recipe(recipe))
    training = train_challenger(night_lake, line, DETECTION, "e" * 64, data, True, progress=lambda _: None)
    bgr = cv2.imread(str(tmp_path / "data/images/train/000.png"))
    np.save(tmp_path / "image.npy", np.ascontiguousarray(bgr[:, :, ::-1]))
    served = in_a_clean_process(tmp_path, registry_stack, f"models:/anchored/{training.model_version}")
    model = ModelRef(
        model_version="1", weights_oid=training.weights_oid, classes=("sperm", "impurity"),
        options={"imgsz": 64, "predict": {"max_det": 20, "conf": 0.0, "iou": 0.6}},
    )  # fmt: skip
    assert oid_of(carried(night_lake.blobs.fetch(training.weights_oid))) == oid
    (ours,) = DETECTION.predictors.load(night_lake, model, "cpu").predict([bgr])
    assert len(served["rows"]) == len(ours) > 0
    np.testing.assert_allclose([row[5] for row in served["rows"]], ours[:, 4], atol=1e-5)


def test_layers_of_ours_are_served_too(night_lake: Lake, line: Line, tmp_path: Path, registry_stack: Settings) -> None:
    data = write_dataset(tmp_path / "data", val=True)
    recipe = RecipeChoice(
        name="detection-from-imagenet", imgsz=64, batch=4, nbs=4, min_steps=0, plots=False, attention="coordinate",
        stages=[{"epochs": 1}], seed=3,
    )  # fmt: skip
    line = line.model_copy(update={"line": "imagenet", "recipe": recipe})
    training = train_challenger(night_lake, line, DETECTION, "e" * 64, data, True, progress=lambda _: None)
    bgr = cv2.imread(str(tmp_path / "data/images/train/000.png"))
    np.save(tmp_path / "image.npy", np.ascontiguousarray(bgr[:, :, ::-1]))
    served = in_a_clean_process(tmp_path, registry_stack, f"models:/imagenet/{training.model_version}")
    detector = Detector(
        night_lake.blobs.fetch(training.weights_oid), oid=training.weights_oid, classes=("sperm", "impurity"),
        imgsz=64, config_dir=tmp_path / "yolo",
    )  # fmt: skip
    (ours,) = detector.predict([bgr], conf=0.0, iou=0.6, max_det=20)
    assert len(served["rows"]) == len(ours) > 0
    np.testing.assert_allclose([row[5] for row in served["rows"]], ours[:, 4], atol=1e-5)
    np.testing.assert_allclose([row[0] for row in served["rows"]], ours[:, 0], atol=1e-2)


def test_loads_in_a_clean_process_and_predicts_what_the_detector_predicts(
    night_lake: Lake, line: Line, tmp_path: Path, registry_stack: Settings
) -> None:
    data = write_dataset(tmp_path / "data", val=False)
    recipe = line.recipe.model_copy(update={"plots": False})
    line = line.model_copy(update={"line": "served", "recipe": recipe})
    training = train_challenger(night_lake, line, DETECTION, "f" * 64, data, False, progress=lambda _: None)
    bgr = cv2.copyMakeBorder(cv2.imread(str(tmp_path / "data/images/train/000.png")), 0, 0, 0, 64, cv2.BORDER_REFLECT)
    np.save(tmp_path / "image.npy", np.ascontiguousarray(bgr[:, :, ::-1]))

    uri = f"models:/served/{training.model_version}"
    served = in_a_clean_process(tmp_path, registry_stack, uri)
    assert served["columns"] == ["x_px", "y_px", "width_px", "height_px", "label", "score"]
    loaded: dict[str, Any] = {
        "weights": night_lake.blobs.fetch(training.weights_oid),
        "oid": training.weights_oid,
        "classes": ("sperm", "impurity"),
        "imgsz": 64,
        "config_dir": tmp_path / "yolo",
    }
    (ours,) = Detector(**loaded).predict([bgr], conf=0.0, iou=0.6, max_det=20)
    assert len(served["rows"]) == len(ours) > 0
    np.testing.assert_allclose([row[5] for row in served["rows"]], ours[:, 4], atol=1e-5)
    np.testing.assert_allclose([row[0] for row in served["rows"]], ours[:, 0], atol=1e-2)
    assert {row[4] for row in served["rows"]} <= {"sperm", "impurity"}
    several = PredictOptions(iou=0.6, tta=True, slice_px=64)
    (ours,) = Detector(**loaded, predict=several).predict([bgr], conf=0.0, max_det=20)
    assert len(served["sliced"]) == len(ours) > 0
    np.testing.assert_allclose([row[5] for row in served["sliced"]], ours[:, 4], atol=1e-5)
    np.testing.assert_allclose([row[0] for row in served["sliced"]], ours[:, 0], atol=1e-2)
