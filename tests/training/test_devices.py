"""Who computes holds a device of its own, and sees no other. With a made-up list of devices: the locks are real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tasks.config import Settings, load_settings
from tasks.errors import ConfigError
from tasks.kinds.detection.recipe import PredictOptions
from tasks.stack.devices import CPU, present
from tasks.training.devices import compute_slot, hold, wanted
from tests import waiting
from tests.kinds.detection.jobs import detector_job
from tests.training.conftest import TINY_MODEL, write_dataset

HOLDER = """
import json, os, sys
from pathlib import Path
from tasks.training import devices
exactly = json.loads(sys.argv[2])
waits = lambda what: print(json.dumps({"waiting": what}), flush=True)
with devices.hold(Path(sys.argv[1]), ("0", "1"), exactly, waits) as held:
    devices.show_only(held)
    print(json.dumps({"held": held, "sees": os.environ["CUDA_VISIBLE_DEVICES"]}), flush=True)
    sys.stdin.readline()
"""


class Holder:
    """Another process that takes devices, of two, until it is told to end."""

    def __init__(self, locks: Path, exactly: list[str] | None = None) -> None:
        command = [sys.executable, "-c", HOLDER, str(locks), json.dumps(exactly)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def says(self) -> dict[str, object]:
        assert self.process.stdout
        said: dict[str, object] = json.loads(self.process.stdout.readline())
        return said

    def end(self) -> None:
        self.process.communicate("\n", timeout=30)


def test_two_take_a_device_each_and_the_third_waits(tmp_path: Path) -> None:
    first, second = Holder(tmp_path), Holder(tmp_path)
    assert sorted(str(each.says()["sees"]) for each in (first, second)) == ["0", "1"]
    third = Holder(tmp_path)
    assert third.says() == {"waiting": "another training or evaluation on 0 and 1"}
    first.process.send_signal(signal.SIGKILL)  # the kernel gives its device back
    assert third.says()["held"]
    second.end()
    third.end()


def test_a_training_on_both_waits_for_both_and_is_alone(tmp_path: Path) -> None:
    one = Holder(tmp_path)
    held = one.says()["held"]
    both = Holder(tmp_path, ["0", "1"])
    assert str(both.says()["waiting"]).endswith(f"on {held[0]}")  # type: ignore[index]
    one.end()
    assert both.says() == {"held": ["0", "1"], "sees": "0,1"}
    late = Holder(tmp_path, ["1"])
    assert "waiting" in late.says()
    both.end()
    assert late.says() == {"held": ["1"], "sees": "1"}
    late.end()


def test_an_evaluation_takes_the_same_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    settings = Settings(state_dir=tmp_path, devices=("0", "1"))
    first = Holder(tmp_path / "locks")
    taken = first.says()["sees"]
    with compute_slot(settings) as device:
        assert {device, taken} == {"0", "1"}
        assert os.environ["CUDA_VISIBLE_DEVICES"] == device
        third = Holder(tmp_path / "locks")
        assert "waiting" in third.says()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"
    assert third.says()["sees"] == device
    first.end()
    third.end()


def test_threads_of_one_process_take_turns_too(tmp_path: Path) -> None:
    told: list[str] = []
    entered = threading.Event()

    def later() -> None:
        with hold(tmp_path, ("0",), waiting=told.append):
            entered.set()

    with hold(tmp_path, ("0",)):
        thread = threading.Thread(target=later)
        thread.start()
        waiting.until(lambda: told, patience_s=20)
        assert not entered.is_set()
    thread.join(timeout=20)
    assert entered.is_set()


def test_what_is_present(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\nprintf '0\\n1\\n2\\n'\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert present(Settings(state_dir=tmp_path)) == ("0", "1", "2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    assert present(Settings(state_dir=tmp_path)) == ("1", "2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert present(Settings(state_dir=tmp_path)) == ("cpu",)
    assert present(Settings(state_dir=tmp_path, devices=("0",))) == ("0",), "the setting has the first word"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    driver.write_text("#!/bin/sh\necho 'no devices were found'; exit 9\n")
    assert present(Settings(state_dir=tmp_path)) == ("cpu",)


def test_the_setting_is_read_as_people_write_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uuid = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
    for text, meant in (("0,1", ("0", "1")), (" 1 ", ("1",)), ("cpu", ("cpu",)), (uuid, (uuid,)), ("", ())):
        monkeypatch.setenv("NIGHTSCOPE_DEVICES", text)
        assert load_settings(tmp_path).devices == meant
    for text in ("0,0", "cpu,0", "gpu", "../0", "0;rm"):
        monkeypatch.setenv("NIGHTSCOPE_DEVICES", text)
        with pytest.raises(ConfigError, match="GPU numbers or UUIDs"):
            load_settings(tmp_path)


def test_what_a_recipe_may_ask_for() -> None:
    four = ("0", "1", "5", "GPU-a")
    assert wanted(None, four) is None and wanted("auto", four) is None
    assert wanted("cpu", four) == (CPU,)
    assert wanted("2", four) == ("5",), "by its place among those that we may use"
    assert wanted("0,3", four) == ("0", "GPU-a")
    for device in ("4", "0,0", "x", "0,", "-1"):
        if device == "0,":
            assert wanted(device, four) == ("0",)
            continue
        with pytest.raises(ConfigError, match="not on this machine"):
            wanted(device, four)
    with pytest.raises(ConfigError, match="no GPU"):
        wanted("0", (CPU,))


def _train(tmp_path: Path, name: str, **changes: object) -> subprocess.Popen[str]:
    """The real training process."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / "tiny.yaml").write_text(TINY_MODEL)
    job = detector_job(
        run_key=name, folder=folder, data_yaml=write_dataset(folder / "data", val=False), has_val=False,
        model=str(folder / "tiny.yaml"), weights=None, min_steps=0, seed=1, resume_from=None,
        arguments={"imgsz": 64, "batch": 4, "nbs": 4, "epochs": 2, "plots": False, "mosaic": 0.0},
        predict=PredictOptions(), config_dir=tmp_path / "ultralytics", locks_dir=tmp_path / "locks",
        parent_pid=os.getpid(),
    )  # fmt: skip
    path = folder / "job.json"
    path.write_text(job.model_copy(update=changes).model_dump_json())
    command = [sys.executable, "-P", "-m", "tasks.training.worker", str(path)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=folder)


def test_two_trainings_on_two_devices_run_side_by_side(tmp_path: Path) -> None:
    two = ("GPU-made-up-1", "GPU-made-up-2")  # torch finds no such GPU, and computes on the CPU
    third = Holder(tmp_path / "locks")  # holds another device: nobody's business
    third.says()
    workers = [_train(tmp_path, name, devices=two) for name in ("a", "b")]
    for worker in workers:
        output, errors = worker.communicate(timeout=300)
        assert worker.returncode == 0, errors[-3000:]
        events = [json.loads(line)["event"] for line in output.splitlines()]
        assert "waiting" not in events and events[-1] == "finished"
    third.end()


def test_one_training_on_several_is_a_process_each_and_its_failure_is_seen(tmp_path: Path) -> None:
    worker = _train(tmp_path, "both", on=("GPU-made-up-1", "GPU-made-up-2"))
    output, errors = worker.communicate(timeout=300)
    assert worker.returncode > 0 and output == ""
    assert "local_rank: 1" in errors or "rank : 1" in errors or "[rank1]" in errors or "local_rank: 0" in errors, (
        errors[-3000:]
    )
    assert "CUDA" in errors
