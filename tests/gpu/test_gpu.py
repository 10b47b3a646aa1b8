"""On a real GPU: training, AMP, resuming, two trainings on two GPUs, one on both.

Not collected by `make test`: run `make test-gpu` where there is a GPU. Nothing here is skipped: without enough GPUs a
test fails, for then it has shown nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.config import Settings
from tasks.kinds.detection.recipe import PredictOptions
from tasks.stack.devices import present
from tests.kinds.detection.jobs import detector_job
from tests.training.conftest import TINY_MODEL, write_dataset


def _job(tmp_path: Path, name: str, **changes: Any) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "tiny.yaml").write_text(TINY_MODEL)
    data = write_dataset(folder / "data", val=True, images=32)
    job = detector_job(
        run_key=name, folder=folder, data_yaml=data, has_val=True, model=str(folder / "tiny.yaml"), weights=None,
        arguments={"imgsz": 64, "batch": 8, "nbs": 8, "epochs": 12, "plots": False, "workers": 0, "mosaic": 0.0},
        min_steps=0, predict=PredictOptions(), seed=1, resume_from=None, config_dir=tmp_path / "ultralytics",
        locks_dir=tmp_path / "locks", parent_pid=os.getpid(), devices=_gpus(), progress_every_s=0,
    )  # fmt: skip
    path = folder / "job.json"
    path.write_text(job.model_copy(update=changes).model_dump_json())
    return path


def _gpus(least: int = 1) -> tuple[str, ...]:
    found = present(Settings(state_dir=Path()))
    assert "cpu" not in found and len(found) >= least, f"needs {least} GPUs, found {found}"
    return found


def _start(job: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "tasks.training.worker", str(job)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=job.parent)


def _events(worker: subprocess.Popen[str]) -> list[dict[str, Any]]:
    output, _ = worker.communicate(timeout=600)
    assert worker.returncode == 0
    return [json.loads(line) for line in output.splitlines()]


def _one(events: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (event,) = (each for each in events if each["event"] == name)
    return event


@pytest.mark.parametrize("amp", ["bf16", "fp16", False])
def test_a_training_on_a_gpu(tmp_path: Path, amp: str | bool) -> None:
    job = _job(tmp_path, "alone")
    content = json.loads(job.read_text())
    content["arguments"]["amp"] = amp
    job.write_text(json.dumps(content))
    events = _events(_start(job))
    assert _one(events, "started")["device"].startswith("cuda")
    losses = [each["loss"] for each in events if each["event"] == "progress"]
    assert sum(losses[-1].values()) < sum(losses[0].values())
    assert Path(_one(events, "finished")["weights"]).is_file()


def test_killed_and_resumed_on_a_gpu(tmp_path: Path) -> None:
    worker, checkpoint = _start(_job(tmp_path, "killed")), None
    assert worker.stdout
    for line in worker.stdout:
        event = json.loads(line)
        if event["event"] == "checkpoint":
            checkpoint = tmp_path / "resume.ckpt"
            Path(event["path"]).rename(checkpoint)
            if event["epoch"] >= 3:
                worker.send_signal(signal.SIGKILL)
                break
    worker.wait()
    events = _events(_start(_job(tmp_path, "resumed", resume_from=checkpoint)))
    epochs = [each["epoch"] for each in events if each["event"] == "epoch"]
    assert epochs[0] == 4 and epochs[-1] == 12


def test_two_trainings_use_two_gpus(tmp_path: Path) -> None:
    _gpus(2)
    began = time.monotonic()
    workers = [_start(_job(tmp_path, name)) for name in ("first", "second")]
    events = [_events(worker) for worker in workers]
    assert not any(each["event"] == "waiting" for some in events for each in some)
    assert time.monotonic() - began < 600


def test_one_training_on_two_gpus(tmp_path: Path) -> None:
    gpus = _gpus(2)[:2]
    events = _events(_start(_job(tmp_path, "both", on=gpus)))
    assert [each["epoch"] for each in events if each["event"] == "epoch"] == list(range(1, 13)), "one reports for both"
    assert Path(_one(events, "finished")["weights"]).is_file()
