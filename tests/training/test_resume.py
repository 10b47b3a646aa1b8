"""Killed trainings go on where they were, and end with the model that they would have ended with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from tasks.config import Line
from tasks.errors import StepKilled
from tasks.kind import Job
from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.registry import open_registry
from tasks.training import supervise
from tasks.training.identity import run_key
from tasks.training.records import Checkpoint, checkpoint_key, read
from tasks.training.train import train_challenger
from tests.training.conftest import write_dataset
from tests.training.killing import killing

DETECTION = kind_of("detection")

VERSION = "e" * 64


@pytest.fixture
def quick_line(line: Line) -> Line:
    """No plots: only the training matters here."""
    recipe = line.recipe.model_copy(update={"plots": False})
    return line.model_copy(update={"recipe": recipe})


def named(line: Line, name: str) -> Line:
    return line.model_copy(update={"line": name})


def test_a_worker_killed_in_the_middle_ends_with_the_same_weights(
    night_lake: Lake, quick_line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_dataset(tmp_path / "data", val=True)
    whole = train_challenger(
        night_lake, named(quick_line, "whole"), DETECTION, VERSION, data, True, progress=lambda _: None
    )
    killed = killing(monkeypatch, lambda event: event["event"] == "checkpoint" and event["epoch"] == 1)

    resumed = train_challenger(
        night_lake, named(quick_line, "killed"), DETECTION, VERSION, data, True, progress=lambda _: None
    )

    assert len(killed) == 1
    assert (resumed.resumed_from_epoch, resumed.epochs, resumed.steps) == (1, 4, 8)
    assert resumed.weights_oid == whole.weights_oid, "not the model it would have become"
    registry = open_registry(night_lake.settings)
    steps = [m.step for m in registry.client.get_metric_history(resumed.mlflow_run, "train/box_loss")]
    assert steps == [1, 2, 3, 4]
    assert read(night_lake, checkpoint_key(resumed.run_key), Checkpoint) is None


def test_a_worker_killed_after_the_last_epoch_is_not_trained_again(
    night_lake: Lake, quick_line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_dataset(tmp_path / "data", val=False)
    killing(monkeypatch, lambda event: event["event"] == "checkpoint" and event["last"])

    training = train_challenger(
        night_lake, named(quick_line, "late"), DETECTION, VERSION, data, False, progress=lambda _: None
    )

    assert (training.resumed_from_epoch, training.epochs, training.steps) == (4, 4, 8)


def test_a_worker_that_dies_again_and_again_fails_the_step(
    night_lake: Lake, quick_line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dead(job: Job, log: Path):  # type: ignore[no-untyped-def]
        raise supervise.WorkerKilled("training was killed by SIGKILL")
        yield

    monkeypatch.setattr(supervise, "events", dead)
    data = write_dataset(tmp_path / "data", val=False)
    with pytest.raises(StepKilled, match="SIGKILL"):
        train_challenger(
            night_lake, named(quick_line, "doomed"), DETECTION, VERSION, data, False, progress=lambda _: None
        )


STEP = """
    import sys
    from pathlib import Path
    from tasks.config import Line, Settings
    from tasks.kinds import kind_of
    from tasks.lake import open_lake
    from tasks.training.train import train_challenger
    settings = Settings.model_validate_json(sys.argv[1])
    settings.s3.secret_key = type(settings.s3.secret_key)(sys.argv[4])
    line = Line.model_validate_json(sys.argv[2])
    train_challenger(open_lake(settings), line, kind_of(line.kind), "e" * 64, Path(sys.argv[3]), False)
"""


def test_the_worker_dies_with_its_step_and_the_next_step_goes_on(
    night_lake: Lake, quick_line: Line, tmp_path: Path
) -> None:
    data = write_dataset(tmp_path / "data", val=False)
    recipe = quick_line.recipe.model_copy(update={"epochs": 60})
    line = named(quick_line, "orphan").model_copy(update={"recipe": recipe})
    key = run_key(night_lake, line, VERSION, DETECTION)
    settings = night_lake.settings
    secret = settings.s3.secret_key.get_secret_value()
    arguments = [settings.model_dump_json(), line.model_dump_json(by_alias=True, exclude_none=True), str(data), secret]
    step = subprocess.Popen([sys.executable, "-c", textwrap.dedent(STEP), *arguments])
    try:
        worker = _worker_that_saved(night_lake, key, step)
        step.send_signal(signal.SIGKILL)
        step.wait()
        worker.wait(timeout=30)
    finally:
        step.kill()
    assert not worker.is_running()

    training = train_challenger(night_lake, line, DETECTION, VERSION, data, False, progress=lambda _: None)

    assert training.resumed_from_epoch is not None
    assert (training.epochs, training.steps) == (60, 120)


def _worker_that_saved(lake: Lake, key: str, step: subprocess.Popen[bytes]) -> psutil.Process:
    """The step's worker, once its first checkpoint is in the lake."""
    for _ in range(2400):
        if lake.store.head(checkpoint_key(key)) is not None:
            return next(p for p in psutil.Process(step.pid).children() if "tasks.training.worker" in p.cmdline())
        assert step.poll() is None, "the step ended before it saved anything"
        time.sleep(0.05)
    raise AssertionError("no checkpoint")


def test_a_worker_whose_step_is_gone_does_not_start(tmp_path: Path) -> None:
    code = f"from tasks.training.worker import die_with; die_with({os.getpid() + 1}); print('went on')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "went on" not in ended.stdout
    assert "is gone" in ended.stderr
