"""The detector: verified before it is loaded, independent of how images are batched."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tasks.errors import DataError, IntegrityError
from tasks.kinds.detection.detector import Detector
from tasks.kinds.detection.recipe import PredictOptions
from tasks.training import ultralytics_offline as offline
from tests.training.conftest import TINY_MODEL


@pytest.fixture
def weights(tmp_path: Path) -> tuple[Path, str]:
    """Untrained weights of the tiny model, under a name without a suffix, as blobs have."""
    offline.prepare(tmp_path / "yolo")
    import torch
    import yaml
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    model = DetectionModel(yaml.safe_load(TINY_MODEL), nc=2, verbose=False)
    model.names = {0: "sperm", 1: "impurity"}
    torch.save({"model": model.half(), "train_args": {}, "epoch": -1}, tmp_path / "weights.pt")
    path = (tmp_path / "weights.pt").rename(tmp_path / "0123abcd")
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def load(weights: tuple[Path, str], folder: Path, **changes: object) -> Detector:
    usual = {"oid": weights[1], "classes": ("sperm", "impurity"), "imgsz": 64, "config_dir": folder}
    return Detector(weights[0], **{**usual, **changes})  # type: ignore[arg-type]


def test_other_bytes_are_never_loaded(weights: tuple[Path, str], tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="sha256"):
        load(weights, tmp_path, oid="0" * 64)


def test_other_classes_are_refused(weights: tuple[Path, str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="impurity"):
        load(weights, tmp_path, classes=("impurity", "sperm"))


def test_boxes_lie_in_the_image_and_do_not_depend_on_company(weights: tuple[Path, str], tmp_path: Path) -> None:
    detector = load(weights, tmp_path, batch=2)
    random = np.random.default_rng(0)
    images = [random.integers(0, 255, shape, dtype=np.uint8) for shape in ((48, 64, 3), (64, 64, 3), (48, 64, 3))]
    together = detector.predict(images, conf=0.0, max_det=5)
    for image, boxes in zip(images, together, strict=True):
        (alone,) = detector.predict([image], conf=0.0, max_det=5)
        np.testing.assert_allclose(boxes, alone, atol=1e-3)
        assert boxes.shape == (5, 6)
        assert boxes.dtype == np.float32
        height, width = image.shape[:2]
        assert (boxes[:, [0, 2]] >= 0).all() and (boxes[:, [0, 2]] <= width).all()
        assert (boxes[:, [1, 3]] >= 0).all() and (boxes[:, [1, 3]] <= height).all()
        assert (np.diff(boxes[:, 4]) <= 0).all()


def test_nothing_found_is_an_empty_table(weights: tuple[Path, str], tmp_path: Path) -> None:
    (boxes,) = load(weights, tmp_path).predict([np.zeros((64, 64, 3), np.uint8)], conf=0.999)
    assert boxes.shape == (0, 6)
    assert load(weights, tmp_path).predict([]) == []


def test_views_and_tiles_are_options_of_the_detector(weights: tuple[Path, str], tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (48, 160, 3), dtype=np.uint8)
    usual = {"conf": 0.0, "iou": 0.6, "max_det": 50}
    plain = load(weights, tmp_path, predict=PredictOptions(**usual)).predict([image])[0]
    for extra in ({"tta": True}, {"slice_px": 64}, {"tta": True, "slice_px": 64, "slice_overlap": 0.5}):
        (boxes,) = load(weights, tmp_path, predict=PredictOptions(**usual, **extra)).predict([image])
        assert 0 < len(boxes) <= 50
        assert boxes.dtype == np.float32
        assert (np.diff(boxes[:, 4]) <= 0).all()
        assert (
            (boxes[:, :4] >= -0.01).all() and (boxes[:, [0, 2]] <= 160.01).all() and (boxes[:, [1, 3]] <= 48.01).all()
        )
        assert boxes.shape != plain.shape or not np.allclose(boxes, plain)


def test_one_wrong_file_of_an_export_and_nothing_is_loaded(weights: tuple[Path, str], tmp_path: Path) -> None:
    other = tmp_path / "metadata.yaml"
    other.write_text("names: {0: sperm}")
    with pytest.raises(IntegrityError, match=r"metadata\.yaml"):
        Detector(
            {"model.xml": weights, "metadata.yaml": (other, "0" * 64)},
            classes=("sperm",),
            imgsz=64,
            config_dir=tmp_path,
        )
