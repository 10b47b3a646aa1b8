"""What a step does with what it hears of a training that stands still, or breaks: said at once, and in MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.config import Line
from tasks.errors import StepFailed
from tasks.kind import Event, Job
from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.registry import open_registry
from tasks.training import supervise
from tasks.training.heard import TrainingRun
from tasks.training.publish import PLATEAU, TROUBLE
from tasks.training.train import train_challenger
from tests.training.conftest import write_dataset

SCORE = "metrics/mAP50(B)"
BROKEN: Event = {"event": "broken", "epoch": 14, "step": 27, "part": "train/box_loss", "value": "nan"}


def an_epoch(number: int, score: float) -> Event:
    metrics = {SCORE: score, "train/box_loss": 1.0}
    return {"event": "epoch", "epoch": number, "epochs": 30, "step": 2 * number, "at_ms": number, "metrics": metrics}


class Shown:
    """In the place of `LiveLog`."""

    def __init__(self) -> None:
        self.tags: list[dict[str, str]] = []

    def note(self, **tags: str) -> None:
        self.tags.append(tags)


def test_a_plateau_is_said_once_and_its_end_too(lake: Lake) -> None:
    said: list[str] = []
    shown: Any = Shown()
    run = TrainingRun(lake, "k" * 64, shown, said.append, SCORE)
    for number in range(1, 16):
        run.hear(an_epoch(number, 0.8))
    assert said == [f"epoch 11: plateau since epoch 1: {SCORE} 0.8, and the 10 epochs after it brought 0"]
    run.hear(an_epoch(16, 0.9))
    run.hear(an_epoch(17, 0.91))
    assert said[1:] == ["epoch 16: getting better again"]
    assert [tags[PLATEAU] for tags in shown.tags] == [said[0].removeprefix("epoch 11: "), "getting better again"]


def test_what_was_measured_before_the_first_epoch_is_kept(lake: Lake) -> None:
    run = TrainingRun(lake, "k" * 64, None, print, SCORE)
    for number in range(3):
        run.hear(an_epoch(number, 0.1 * number))
    assert [(each.epoch, each.metrics[SCORE]) for each in run.history] == [(0, 0.0), (1, 0.1), (2, 0.2)]


def test_a_broken_loss_is_an_error_that_says_what_to_try(lake: Lake) -> None:
    run = TrainingRun(lake, "k" * 64, None, print, SCORE)
    with pytest.raises(StepFailed) as caught:
        run.hear(BROKEN)
    assert caught.value.thing == "training kkkkkkkkkkkk broke in epoch 14, step 27: its train/box_loss is nan"
    assert "learning rate" in str(caught.value.fix) and "newest labels" in str(caught.value.fix)


def test_both_stand_in_mlflow_where_people_look(
    night_lake: Lake, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = line.model_copy(update={"line": "broken-detector"})
    jobs: list[Job] = []

    def events(job: Job, log: Path) -> Iterator[Event]:
        jobs.append(job)
        yield {"event": "started", "device": "cpu", "train_images": 8, "parameters": 9, "epochs": 30,
               "steps_per_epoch": 2, "first_epoch": 0}  # fmt: skip
        yield from (an_epoch(number, 0.8) for number in range(1, 14))
        yield BROKEN
        yield an_epoch(15, 0.8)

    monkeypatch.setattr(supervise, "events", events)
    data = write_dataset(tmp_path / "data", val=True)
    with pytest.raises(StepFailed, match="broke in epoch 14"):
        train_challenger(night_lake, line, kind_of("detection"), "f" * 64, data, True, progress=lambda _: None)
    registry = open_registry(night_lake.settings)
    (run,) = registry.client.search_runs([registry.runs.experiment(line.line)])
    assert run.info.status == "FAILED" and run.data.tags["nightscope.state"] == "failed"
    assert run.data.tags[PLATEAU].startswith("plateau since epoch 1")
    assert run.data.tags[TROUBLE].endswith("broke in epoch 14, step 27: its train/box_loss is nan")
    assert registry.versions(line.line) == []
    shown_in = jobs[0].shown_in
    assert shown_in and shown_in.parent == night_lake.settings.state_dir.resolve() / "tensorboard" / line.line
