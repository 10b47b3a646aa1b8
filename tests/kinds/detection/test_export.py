"""Each format holds the same model: same letterbox, same boxes, whatever the image's shape. And what is refused."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tasks.errors import ConfigError, StepFailed
from tasks.kinds.detection.detector import Boxes, Detector
from tasks.kinds.detection.export_process import ExportJob, Format, UseJob, make_export, time_models
from tasks.kinds.detection.exports import check_supported, input_shape
from tasks.kinds.detection.recipe import PredictOptions
from tasks.training import ultralytics_offline as offline
from tests.operations.exporting import one_cpu
from tests.training.conftest import TINY_MODEL

CLASSES = ("sperm", "impurity")
EVERYTHING = PredictOptions(conf=0.0, iou=1.0, max_det=2000)
"""Every box of every cell, none suppressed: nothing depends on the order of equal scores."""

Files = dict[str, tuple[Path, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with one_cpu():
        yield tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def original(folder: Path) -> tuple[Path, str]:
    """Weights of the tiny model, drawn so that it has opinions: untrained, all scores are the same up to rounding."""
    offline.prepare(folder / "yolo")
    import torch
    import yaml
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    model = DetectionModel(yaml.safe_load(TINY_MODEL), nc=2, verbose=False)
    model.names = dict(enumerate(CLASSES))
    judging = model.model[-1].cv3[0][-1]
    judging.weight.data.normal_(0, 2)
    judging.bias.data.zero_()
    path = folder / "weights"
    torch.save({"model": model.half(), "train_args": {}, "epoch": -1}, path)
    return path, _oid(path)


def exported(folder: Path, original: tuple[Path, str], fmt: Format, turn: int = 0, *, int8: bool = False) -> Files:
    place = folder / f"{fmt}-{int8}-{turn}"
    place.mkdir()
    images = []
    for index in range(4 if int8 else 0):
        picture = np.random.default_rng(index).integers(0, 255, (56, 96, 3), dtype=np.uint8)
        images.append(place / f"{index:064x}")  # a blob: no suffix
        images[-1].write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    job = ExportJob(
        folder=place, weights=original[0], format=fmt, int8=int8, imgsz=(64, 96), max_det=300, images=tuple(images),
        config_dir=folder / "yolo", parent_pid=os.getpid(),
    )  # fmt: skip
    said = make_export(job)
    assert (said["opset"] is not None) == (fmt == "onnx")
    return {name: (place / "files" / name, _oid(place / "files" / name)) for name in said["files"]}


@pytest.fixture(scope="module")
def onnx(folder: Path, original: tuple[Path, str]) -> Files:
    return exported(folder, original, "onnx")


def _oid(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load(files: Files | tuple[Path, str], folder: Path, options: PredictOptions) -> Detector:
    usual = {"classes": CLASSES, "imgsz": 96, "config_dir": folder / "yolo", "predict": options, "device": "cpu"}
    if isinstance(files, tuple):
        return Detector(files[0], oid=files[1], **usual)  # type: ignore[arg-type]
    return Detector(files, **usual)  # type: ignore[arg-type]


def farthest(mine: Boxes, theirs: Boxes) -> float:
    """How far the box is, in pixels or score, whose counterpart is farthest."""
    return max(float(np.abs(theirs - box).max(axis=1).min()) for box in mine)


@pytest.mark.parametrize("fmt", ["onnx", "torchscript", "openvino"])
def test_an_export_finds_the_same_boxes_in_images_of_any_shape(
    folder: Path, original: tuple[Path, str], onnx: Files, fmt: Format
) -> None:
    files = onnx if fmt == "onnx" else exported(folder, original, fmt)
    mine, theirs = load(original, folder, EVERYTHING), load(files, folder, EVERYTHING)
    rng = np.random.default_rng(0)
    for shape in ((56, 96, 3), (96, 96, 3), (90, 41, 3), (200, 300, 3)):
        image = rng.integers(0, 255, shape, dtype=np.uint8)
        (one,), (other,) = mine.predict([image]), theirs.predict([image])
        assert len(one) == len(other) > 0, shape
        assert farthest(one, other) < 0.01, shape
    mine.options = theirs.options = PredictOptions(conf=0.0, tta=True, slice_px=64)
    (one,), (other,) = mine.predict([image]), theirs.predict([image])
    assert abs(len(one) - len(other)) <= 5  # some overlap by just as much as the threshold says
    np.testing.assert_allclose(one[:10, 4], other[:10, 4], atol=1e-4)


def test_the_same_model_gives_the_same_bytes(folder: Path, original: tuple[Path, str], onnx: Files) -> None:
    again = exported(folder, original, "onnx", 1)
    assert {name: oid for name, (_, oid) in again.items()} == {name: oid for name, (_, oid) in onnx.items()}


def test_int8_is_smaller_nearly_the_same_and_names_no_path(folder: Path, original: tuple[Path, str]) -> None:
    files = exported(folder, original, "openvino", int8=True)
    assert set(files) == {"metadata.yaml", "model.bin", "model.xml"}
    assert str(folder) not in files["metadata.yaml"][0].read_text()
    image = np.random.default_rng(9).integers(0, 255, (56, 96, 3), dtype=np.uint8)
    (one,), (other,) = (load(of, folder, EVERYTHING).predict([image]) for of in (original, files))
    assert 0 < farthest(one, other) < 3
    use = {
        name: UseJob(
            files=own, classes=CLASSES, imgsz=96, predict=PredictOptions(), config_dir=folder / "yolo",
            images=(next(folder.glob("openvino-True-0/0*")),), parent_pid=os.getpid(),
        )
        for name, own in (("original", {"weights.pt": original}), ("export", files))
    }  # fmt: skip
    timed = time_models(use, folder, rounds=3)
    for own in timed.values():
        assert own["images"] == 3
        assert 0 < own["latency_ms_p50"] <= own["latency_ms_p95"]
        assert 100 < own["libraries_rss_mb"] < own["peak_rss_mb"]


def test_a_failed_export_says_why(folder: Path) -> None:
    junk = folder / "junk"
    junk.write_bytes(b"no weights")
    with pytest.raises(StepFailed, match=r"export to onnx failed .*(Error|invalid)"):
        exported(folder, (junk, _oid(junk)), "onnx", 3)


@pytest.mark.parametrize(
    ("fmt", "int8", "fault"), [("torchscript", True, "torchscript has no int8"), ("coreml", False, "no such format")]
)
def test_unsupported_combinations_are_refused_before_anything_is_done(fmt: str, int8: bool, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        check_supported(fmt, int8)


@pytest.mark.parametrize(
    ("imgsz", "height", "width", "shape"),
    [(704, 540, 720, (544, 704)), (704, 480, 640, (544, 704)), (640, 480, 640, (480, 640)), (96, 56, 96, (64, 96))],
)
def test_frames_are_padded_to_the_stride_and_no_further(
    imgsz: int, height: int, width: int, shape: tuple[int, int]
) -> None:
    assert input_shape(imgsz, height, width) == shape


def test_no_telemetry_and_no_installation() -> None:
    import sys

    offline.prepare()
    assert os.environ["YOLO_AUTOINSTALL"] == "false"
    assert sys.modules["openvino_telemetry"] is None
