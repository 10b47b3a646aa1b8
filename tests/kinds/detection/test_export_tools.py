"""What cannot be exported here is refused before anything is done, with all that is missing and how to get it."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.errors import ConfigError, DataError
from tasks.kind.exports import Precision
from tasks.kinds.detection.detector import Detector
from tasks.kinds.detection.export_tools import REFUSED, TOOLS, Tool, check_supported, missing
from tasks.kinds.detection.exports import FORMATS, shape_of

pytestmark = pytest.mark.unit

LACKING = Tool(("fp32",), False, ("a-package-that-nobody-has>=2", "torch<1", "packaging"), "export-paddle")


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOOLS, "paddle", LACKING)
    with pytest.raises(ConfigError) as caught:
        check_supported("paddle", "fp32")
    assert caught.value.expected == "a-package-that-nobody-has>=2, torch<1, packaging"
    assert (caught.value.found or "").startswith("a-package-that-nobody-has is not installed; torch ")
    assert "--extra export-paddle" in (caught.value.fix or "")


def test_an_export_whose_runtime_is_missing_is_not_called_broken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(TOOLS, "paddle", LACKING)
    with pytest.raises(ConfigError, match="running paddle: a package is missing"):
        Detector(written(tmp_path, {"model.json": b"{}", "model.pdiparams": b""}), classes=("a",), imgsz=64)


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    files = written(tmp_path, {"model.param": b"import os", "model.bin": b"", "metadata.yaml": b"names: {0: a}"})
    with pytest.raises(DataError, match="cannot be loaded"):
        Detector(files, classes=("a",), imgsz=64, config_dir=tmp_path / "yolo")


@pytest.mark.parametrize(
    ("fmt", "precision", "what"),
    [
        ("torchscript", "int8", "torchscript has no int8; expected onnx or openvino with --int8"),
        ("torchscript", "fp16", "torchscript has no fp16; expected onnx or openvino or ncnn with --fp16"),
        ("ncnn", "int8", "ncnn has no int8"),
        ("paddle", "fp16", "paddle has no fp16"),
        ("litert", "fp32", r"litert-torch cannot be installed .* wants torch < 2.15 .* found torch 2\."),
        ("tflite", "int8", "litert-torch cannot be installed"),
        ("tensorrt", "fp16", "trtexec --onnx=model.onnx"),
        ("engine", "fp32", "runs only on the model of GPU"),
        ("coreml", "fp32", "only macOS runs a Core ML model.* convert that on a Mac with coremltools"),
        ("caffe", "fp32", "no such format; expected one of: onnx, torchscript, openvino, ncnn, paddle"),
    ],
)
def test_what_cannot_be_made_or_checked_here_is_refused(fmt: str, precision: Precision, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        check_supported(fmt, precision)


def test_formats_are_either_made_or_refused() -> None:
    assert not set(FORMATS) & set(REFUSED)
    assert all(check_supported(fmt, "fp32") == fmt for fmt in FORMATS if not missing(TOOLS[fmt].packages))


def test_the_extras_bring_what_a_format_needs() -> None:
    root = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists())
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    needed = {tool.extra: tool.packages for tool in TOOLS.values() if tool.packages}
    assert {name: tuple(packages) for name, packages in extras.items() if name in needed} == needed


WIDE, TALL = {"height_px": 540, "width_px": 720}, {"height_px": 720, "width_px": 540}


@pytest.mark.parametrize(
    ("frames", "predict", "found"),
    [
        ([WIDE, WIDE, TALL], {}, "544 x 704 px, 704 x 544 px"),
        ([WIDE], {"tta": True, "slice_px": 384}, "tta=True, slice_px=384"),
        ([WIDE, {"height_px": 1080, "width_px": 1440}], {"tta": False, "slice_px": None}, None),
    ],
)
def test_a_format_of_one_shape_is_not_made_of_a_model_that_is_shown_several(
    frames: list[dict[str, int]], predict: dict[str, Any], found: str | None
) -> None:
    about = SimpleNamespace(imgsz=704, predict=predict)
    assert shape_of(about, "onnx", frames) == (544, 704)
    if found is None:
        assert shape_of(about, "ncnn", frames) == (544, 704)
        return
    with pytest.raises(ConfigError, match="images of one shape only") as caught:
        shape_of(about, "ncnn", frames)
    assert caught.value.found == found


def written(folder: Path, content: dict[str, bytes]) -> dict[str, tuple[Path, str]]:
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return {name: (folder / name, hashlib.sha256(data).hexdigest()) for name, data in content.items()}
