"""Each format holds the same model: same letterbox, same boxes, whatever the image's shape. And what is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from tasks.errors import StepFailed
from tasks.kind.exports import Precision
from tasks.kinds.detection.attention import with_attention
from tasks.kinds.detection.export_process import UseJob, time_models
from tasks.kinds.detection.export_tools import Format
from tasks.kinds.detection.exports import input_shape
from tasks.kinds.detection.recipe import ARCHITECTURES, PredictOptions
from tasks.training import ultralytics_offline as offline
from tests.kinds.detection.exporting import CLASSES, EVERYTHING, Files, drawn, exported, farthest, load, oid_of
from tests.operations.exporting import one_cpu
from tests.training.conftest import TINY_MODEL


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with one_cpu():
        yield tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def original(folder: Path) -> tuple[Path, str]:
    """Weights of the tiny model."""
    return drawn(yaml.safe_load(TINY_MODEL), folder)


@pytest.fixture(scope="module")
def onnx(folder: Path, original: tuple[Path, str]) -> Files:
    return exported(folder, original, "onnx")


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


@pytest.mark.parametrize(
    ("model", "attention", "fmt"),
    [
        ("p3-tiny.yaml", "cbam", "onnx"), ("p3-tiny.yaml", "coordinate", "onnx"),
        ("lite0-p2-p4.yaml", "shuffle", "onnx"),
        ("lite0-p2-p4.yaml", "coordinate", "openvino"), ("lite0-p2-p4.yaml", "shuffle", "torchscript"),
    ],
)  # fmt: skip
def test_so_does_one_with_layers_of_ours(tmp_path: Path, model: str, attention: str, fmt: Format) -> None:
    plain = yaml.safe_load((ARCHITECTURES / model).read_text())
    channels = [32, 48, 64] if model.startswith("lite0") else [16]
    with one_cpu():
        weights = drawn(with_attention(plain, attention, channels), tmp_path)
        files = exported(tmp_path, weights, fmt)
        mine, theirs = load(weights, tmp_path, EVERYTHING), load(files, tmp_path, EVERYTHING)
        for shape in ((56, 96, 3), (90, 41, 3), (200, 300, 3)):
            image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
            (one,), (other,) = mine.predict([image]), theirs.predict([image])
            assert len(one) == len(other) > 0, shape
            assert farthest(one, other) < 0.01, shape


@pytest.mark.parametrize(
    ("fmt", "precision", "px", "names"),
    [
        ("ncnn", "fp32", 0.01, {"metadata.yaml", "model.bin", "model.param"}),
        ("onnx", "fp16", 0.2, {"model.onnx"}),
    ],
)  # fmt: skip
def test_one_of_a_single_shape_or_in_fp16_finds_them_too(
    folder: Path, original: tuple[Path, str], onnx: Files, fmt: Format, precision: Precision, px: float, names: set[str]
) -> None:
    files = exported(folder, original, fmt, precision=precision)
    assert set(files) == names, "converters leave programs beside the model, which must not come along"
    sizes = [sum(path.stat().st_size for path, _ in each.values()) for each in (files, onnx)]
    assert precision == "fp32" or sizes[0] < 0.65 * sizes[1]
    mine, theirs = load(original, folder, EVERYTHING), load(files, folder, EVERYTHING)
    rng = np.random.default_rng(0)
    for shape in ((56, 96, 3), (112, 192, 3)):  # both are letterboxed to the shape that it was made with
        images = [rng.integers(0, 255, shape, dtype=np.uint8) for _ in range(2)]
        for one, other in zip(mine.predict(images), theirs.predict(images), strict=True):
            assert len(one) == len(other) > 0, shape
            assert farthest(one, other) < px, shape


def test_the_same_model_gives_the_same_bytes(folder: Path, original: tuple[Path, str], onnx: Files) -> None:
    again = exported(folder, original, "onnx", 1)
    assert {name: oid for name, (_, oid) in again.items()} == {name: oid for name, (_, oid) in onnx.items()}


def test_int8_is_smaller_nearly_the_same_and_names_no_path(folder: Path, original: tuple[Path, str]) -> None:
    files = exported(folder, original, "openvino", precision="int8")
    assert set(files) == {"metadata.yaml", "model.bin", "model.xml"}
    assert str(folder) not in files["metadata.yaml"][0].read_text()
    image = np.random.default_rng(9).integers(0, 255, (56, 96, 3), dtype=np.uint8)
    (one,), (other,) = (load(of, folder, EVERYTHING).predict([image]) for of in (original, files))
    assert 0 < farthest(one, other) < 3
    use = {
        name: UseJob(
            files=own, classes=CLASSES, imgsz=96, predict=PredictOptions(), config_dir=folder / "yolo",
            images=(next(folder.glob("openvino-int8-0/0*")),), parent_pid=os.getpid(),
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
        exported(folder, (junk, oid_of(junk)), "onnx", 3)


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
