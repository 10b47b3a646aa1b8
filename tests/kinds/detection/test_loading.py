"""Weights and architectures that would run something when they are loaded: every place that loads refuses them."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image, UnidentifiedImageError

from tasks.errors import DataError, StepFailed
from tasks.kinds.detection.comparison import compare_weights
from tasks.kinds.detection.detector import Detector
from tasks.kinds.detection.exports import ExportJob, make_export
from tasks.kinds.detection.recipe import ARCHITECTURES, PredictOptions
from tasks.kinds.detection.review import finished_weights
from tasks.kinds.detection.served import SERVED
from tasks.training import ultralytics_layers
from tasks.training import ultralytics_offline as offline
from tasks.training.ultralytics_loading import harmless, load_checkpoint
from tasks.training.ultralytics_resume import unpack
from tests.kinds.detection.jobs import detector_job
from tests.training.conftest import TINY_MODEL, write_dataset


class Bomb:
    """Makes a file when it is unpickled: what an attacker's pickle does, only harmless."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """What would be there if anything had run."""
    offline.prepare(tmp_path / "yolo")
    return tmp_path / "it-ran"


@pytest.fixture
def bomb(mark: Path, tmp_path: Path) -> Path:
    """Weights that make `mark` when a plain unpickler reads them."""
    path = tmp_path / "bomb.pt"
    torch.save({"model": Bomb(mark), "train_args": {}, "epoch": -1}, path)
    return path


def oid_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_bomb_would_go_off(bomb: Path, mark: Path) -> None:
    """In a process that takes no care. Else the tests below would show nothing."""
    code = f"import torch; torch.load({str(bomb)!r}, weights_only=False)"
    subprocess.run([sys.executable, "-P", "-c", code], check=True, env={"PATH": os.environ["PATH"]})
    assert mark.exists()


@pytest.mark.parametrize("environment", [{}, {"ULTRALYTICS_SAFE_LOAD": "0", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}])
def test_checkpoints(bomb: Path, mark: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DataError, match=r"bomb\.pt cannot be loaded"):
        load_checkpoint(bomb)
    assert not mark.exists()


@pytest.mark.parametrize("data", [b"", b"no zip", b"\x80\x04\x95" + b"[" * 1000])
def test_what_is_no_checkpoint_at_all(tmp_path: Path, data: bytes, mark: Path) -> None:
    (tmp_path / "some.pt").write_bytes(data)
    with pytest.raises(DataError, match=r"some\.pt cannot be loaded"):
        load_checkpoint(tmp_path / "some.pt")


@pytest.mark.parametrize("name", ["allow", "Network"])
def test_of_our_module_of_layers_only_the_layers(tmp_path: Path, mark: Path, name: str) -> None:
    class Named:
        def __reduce__(self) -> Any:
            return getattr(ultralytics_layers, name), ()

    torch.save({"model": Named()}, tmp_path / "other.pt")
    with pytest.raises(DataError, match=r"other\.pt cannot be loaded") as refused:
        load_checkpoint(tmp_path / "other.pt")
    assert f"ultralytics_layers.{name}" in str(refused.value.__cause__)
    attention = ultralytics_layers.ShuffleAttention(16)
    torch.save({"model": attention}, tmp_path / "ours.pt")
    assert type(load_checkpoint(tmp_path / "ours.pt")["model"]) is type(attention)


def test_the_predictor(bomb: Path, mark: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be loaded"):
        Detector(bomb, oid=oid_of(bomb), classes=("sperm",), imgsz=64, config_dir=tmp_path / "yolo")
    assert not mark.exists()


def test_the_comparison_of_a_repetition(bomb: Path, mark: Path) -> None:
    with pytest.raises(DataError, match="cannot be loaded"):
        compare_weights(bomb, bomb, (oid_of(bomb), oid_of(bomb)))
    assert not mark.exists()


def test_the_export(bomb: Path, mark: Path, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    job = ExportJob(
        folder=folder, weights=bomb, format="onnx", imgsz=(64, 64), max_det=10, images=(),
        config_dir=tmp_path / "yolo", parent_pid=os.getpid(),
    )  # fmt: skip
    with pytest.raises(StepFailed, match="cannot be loaded"):
        make_export(job)
    assert not mark.exists()


def test_the_served_model(bomb: Path, mark: Path, tmp_path: Path) -> None:
    from tasks.kinds.detection.pyfunc_model import BoxDetector

    (tmp_path / "model.json").write_text(f'{{"weights_sha256": "{oid_of(bomb)}"}}')
    files = {"weights": str(bomb), "model": str(tmp_path / "model.json")} | {
        path.stem: str(path) for path in SERVED.modules
    }
    with pytest.raises(TypeError, match="outside the supported"):
        BoxDetector().load_context(SimpleNamespace(artifacts=files))
    assert not mark.exists()


def test_a_checkpoint_that_a_training_would_go_on_from(bomb: Path, mark: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="Weights only load failed"):
        unpack(bomb, tmp_path / "run")
    assert not mark.exists()


def test_weights_inside_a_checkpoint(bomb: Path, mark: Path, tmp_path: Path) -> None:
    """The checkpoint is tensors alone; the file of weights among them is not."""
    buffer = io.BytesIO()
    inside = torch.frombuffer(bytearray(bomb.read_bytes()), dtype=torch.uint8)
    torch.save({"last": inside, "best": None, "results": "", "finished": True}, buffer)
    (tmp_path / "resume.ckpt").write_bytes(buffer.getvalue())
    unpack(tmp_path / "resume.ckpt", tmp_path / "run")
    with pytest.raises(DataError, match="cannot be loaded"):
        finished_weights(tmp_path / "run", tmp_path / "weights.pt", prefer_best=False)
    assert not mark.exists()


def a_job(tmp_path: Path, **changes: Any) -> Path:
    folder = tmp_path / "job"
    folder.mkdir()
    job = detector_job(
        **{
            "run_key": "k" * 64, "folder": folder, "data_yaml": write_dataset(tmp_path / "data", val=False, images=2),
            "has_val": False, "model": None, "weights": None, "min_steps": 0, "predict": PredictOptions(), "seed": 0,
            "arguments": {"epochs": 1, "batch": 2, "imgsz": 64, "workers": 0, "plots": False}, "resume_from": None,
            "config_dir": tmp_path / "yolo", "locks_dir": tmp_path, "parent_pid": os.getpid(),
        } | changes
    )  # fmt: skip
    (folder / "job.json").write_text(job.model_dump_json())
    return folder / "job.json"


def work(job: Path, **environment: str) -> str:
    command = [sys.executable, "-P", "-m", "tasks.training.worker", str(job)]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    return done.stderr


def test_a_training_of_ours_loads_what_it_wrote_itself(mark: Path, tmp_path: Path) -> None:
    job = a_job(tmp_path, model=str(ARCHITECTURES / "p3-tiny.yaml"))
    command = [sys.executable, "-P", "-m", "tasks.training.worker", str(job)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    unfinished = load_checkpoint(job.parent / "run" / "weights" / "last.pt")
    assert unfinished["model"] is None and hasattr(unfinished["ema"], "state_dict")
    assert hasattr(load_checkpoint(job.parent / "weights.pt")["model"], "state_dict")


def test_weights_that_a_training_starts_from(bomb: Path, mark: Path, tmp_path: Path) -> None:
    said = work(a_job(tmp_path, weights=bomb), ULTRALYTICS_SAFE_LOAD="false")
    assert "outside the supported" in said
    assert not mark.exists()


def test_an_architecture_whose_activation_is_code(mark: Path, tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(f"activation: __import__('os').mkdir({str(mark)!r})\n{TINY_MODEL}")
    said = work(a_job(tmp_path, model=str(path)), ULTRALYTICS_SAFE_LOAD="")
    assert "blocked during restricted model load" in said
    assert not mark.exists()

    from ultralytics import YOLO

    with pytest.raises(Exception, match="blocked during restricted model load"):
        YOLO(str(path))
    assert not mark.exists()


def test_a_file_that_is_no_picture_has_nothing_installed(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    harmless()
    with pytest.raises(UnidentifiedImageError):
        Image.open(tmp_path / "empty.png")
