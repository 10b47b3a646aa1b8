"""Whole trainings on tiny pictures: events, what is handed over, and what a kill changes (nothing)."""

from __future__ import annotations

import csv
import hashlib
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
import torch

from tasks.errors import ConfigError, DataError
from tasks.kind import Event, Job
from tasks.kinds.segmentation import networks
from tasks.kinds.segmentation.plan import TrainingPlan
from tasks.kinds.segmentation.train import EPOCH_SCORE, options, train
from tasks.kinds.segmentation.training.stages import STAGE1, STAGE2, learning, rate_at, stages_of, unfreeze
from tasks.registry.erasing import SHOWS_FRAMES
from tasks.training import supervise
from tasks.training.supervise import WorkerKilled
from tests.kinds.segmentation.small_trainings import job, of, train_here, tuned, write_dataset

pytestmark = pytest.mark.integration


class Killed(Exception):
    """Stands for a kill, right after a checkpoint."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("cells"))


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, list[Event]]:
    """A training of both stages that nobody stopped."""
    asked = job(data, tmp_path_factory.mktemp("whole"), preeval=True, debug=True, augmentation={"degrees": 10})
    return asked, train_here(asked)


def digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def weights_of(events: list[Event]) -> str:
    (finished,) = of(events, "finished")
    return str(finished["weights"])


def test_a_training_reports_its_stages(whole: tuple[Job, list[Event]]) -> None:
    _, events = whole
    (started,) = of(events, "started")
    assert (started["train_images"], started["epochs"], started["steps_per_epoch"]) == (4, 4, 2)
    assert started["device"] == "cpu" and started["first_epoch"] == 0
    before, *epochs = of(events, "epoch")
    assert before["epoch"] == 0 and "val/boxes_AP50_pooled" in before["metrics"], "preeval measures before training"
    assert [event["step"] for event in epochs] == [2, 4, 6, 8]
    assert [event["metrics"]["stage"] for event in epochs] == [1, 1, 2, 2]
    first, last = epochs[0]["metrics"], epochs[-1]["metrics"]
    assert {"train/stage1/ce", "train/stage1/giou", "train/stage1/mask_dice", "lr", EPOCH_SCORE} <= first.keys()
    assert {"train/stage2/focal", "train/stage2/dice", "train/stage2/boundary", "memory/process_mb"} <= last.keys()
    assert of(events, "checkpoint")[-1]["last"] and of(events, "progress")[0]["loss"].keys() == {"loss"}


def test_what_is_handed_over(whole: tuple[Job, list[Event]]) -> None:
    _, events = whole
    (finished,) = of(events, "finished")
    files = finished["files"]
    assert {"training/augmented.png", "training/epochs.csv", "training/stage1.png", "training/stage2.png",
            "val/predicted.jpg", "debug/steps.csv", "debug/epoch-0001.png"} <= files.keys()  # fmt: skip
    pictures = {name: path for name, path in files.items() if name.endswith((".png", ".jpg"))}
    assert all(cv2.imread(path) is not None for path in pictures.values())
    assert all(SHOWS_FRAMES.search(name) for name in pictures), "erasing a donor finds them"
    with Path(files["debug/steps.csv"]).open() as file:
        assert len(list(csv.DictReader(file))) == 8
    assert {"val/AP50_pooled", "val/PQ", "val/boxes_AP50_pooled"} <= finished["review"].keys()
    network, spec = networks.read(Path(finished["weights"]))
    assert spec["classes"] == ["cell"] and spec["input"]["imgsz"] == 64
    assert spec["min_score"] == finished["review"]["val/min_score"]
    assert len(network.raw_instances(torch.rand(1, 3, 64, 64), 0.0)) == 1


def stopped_after(asked: Job, epoch: int) -> Path:
    """Train until the checkpoint of an epoch is reported, and stop there."""

    def report(event: str, **content: Any) -> None:
        if event == "checkpoint" and content["epoch"] == epoch:
            raise Killed

    with pytest.raises(Killed):
        train(asked, report)
    return asked.folder / "checkpoints" / f"{epoch:06d}.ckpt"


@pytest.mark.parametrize("epoch", [1, 2, 3], ids=["in stage 1", "between", "in stage 2"])
def test_stopped_and_resumed_is_the_same_to_the_byte(
    data: Path, tmp_path: Path, whole: tuple[Job, list[Event]], epoch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.training.worker_reports.Checkpoints.write", always)
    asked, expected = whole
    first = asked.model_copy(update={"folder": tmp_path})
    events = train_here(first.model_copy(update={"resume_from": stopped_after(first, epoch)}))
    assert of(events, "started")[0]["first_epoch"] == epoch and of(events, "epoch")[0]["epoch"] == epoch + 1
    assert digest(weights_of(events)) == digest(weights_of(expected))
    tables = [Path(of(each, "finished")[0]["files"]["training/epochs.csv"]) for each in (events, expected)]
    assert tables[0].read_text() == tables[1].read_text()
    with Path(of(events, "finished")[0]["files"]["debug/steps.csv"]).open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(1, 9)), "none twice, none lost"
    kept = [{name for name in of(each, "finished")[0]["files"] if "epoch-" in name} for each in (events, expected)]
    assert kept[0] == kept[1] and len(kept[0]) == 4, "pictures of before the kill, too"


def always(self: Any, epoch: int, content: Any, *, last: bool) -> None:
    """A checkpoint after every epoch, however short it was."""
    self._folder.mkdir(exist_ok=True)
    path = self._folder / f"{epoch:06d}.ckpt"
    path.write_bytes(content())
    self._report("checkpoint", epoch=epoch, path=str(path), last=last)


def test_a_killed_worker_changes_nothing(data: Path, tmp_path: Path, whole: tuple[Job, list[Event]]) -> None:
    asked, expected = whole
    first = asked.model_copy(update={"folder": tmp_path})
    with pytest.raises(WorkerKilled):
        for event in supervise.events(first, tmp_path / "training.log"):
            if event["event"] == "checkpoint" and event["epoch"] == 1:
                (worker,) = (one for one in psutil.Process().children() if "tasks.training.worker" in one.cmdline())
                worker.send_signal(signal.SIGKILL)
    events = train_here(first.model_copy(update={"resume_from": tmp_path / "checkpoints" / "000001.ckpt"}))
    assert digest(weights_of(events)) == digest(weights_of(expected))


def test_stage_2_leaves_what_finds_cells_as_it_is(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.training.worker_reports.Checkpoints.write", always)
    asked = job(data, tmp_path, val=False, stage2={"total_epochs": 1, "predicted_share": 1.0})
    network, _ = networks.read(Path(weights_of(train_here(asked))))
    before = torch.load(tmp_path / "checkpoints" / "000002.ckpt", weights_only=True)
    assert before["stage"] == 1, "the first stage has ended"
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before["network"][name])}
    assert changed and all(name.startswith("decoder.") for name in changed)


def test_star_convex_learns_round_cells(data: Path, tmp_path: Path) -> None:
    changes = {"stage1": {"total_epochs": 12, "learning_rate": 0.01}, "val_every": 12}
    events = train_here(job(data, tmp_path, name="star-convex", **changes))
    (finished,) = of(events, "finished")
    assert finished["review"]["val/AP50_pooled"] > 0.5
    assert {event["metrics"]["stage"] for event in of(events, "epoch")} == {1}


def test_without_a_validation_split_and_without_cells_in_some_pictures(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", val=False, empty_every=2)
    changes = {"stage1": {"total_epochs": 1}, "stage2": {"total_epochs": 1, "hard_mining": "plain"}, "batch_size": 1}
    events = train_here(job(data, tmp_path / "run", val=False, **changes))
    (finished,) = of(events, "finished")
    assert finished["review"] == {} and "val/predicted.jpg" not in finished["files"]
    assert networks.read(Path(finished["weights"]))[1]["min_score"] == 0.3


def test_early_stopping_ends_a_stage_and_the_next_begins(data: Path, tmp_path: Path) -> None:
    changes = {"stage1": {"total_epochs": 30, "learning_rate": 0.0, "patience": 1}, "stage2": {"total_epochs": 1}}
    events = train_here(job(data, tmp_path, ema=0, **changes))
    stages = [event["metrics"]["stage"] for event in of(events, "epoch")]
    assert stages[-1] == 2 and 2 <= len(stages) < 8


def test_a_stage_does_not_end_for_lack_of_progress_that_nobody_measured(data: Path, tmp_path: Path) -> None:
    stage1 = {"total_epochs": 12, "learning_rate": 0.0, "patience": 1}
    events = train_here(job(data, tmp_path, ema=0, val_every=4, stage1=stage1, stage2={"total_epochs": 1}))
    first = [event["metrics"] for event in of(events, "epoch") if event["metrics"]["stage"] == 1]
    assert len(first) == 8 and [EPOCH_SCORE in each for each in first] == [False, False, False, True] * 2


def test_no_cells_and_several_devices_are_refused(data: Path, tmp_path: Path) -> None:
    empty = write_dataset(tmp_path / "data", empty_every=1)
    with pytest.raises(DataError, match=r"the training split has no cells.*found 4 pictures without any"):
        options(tuned(), empty)
    with pytest.raises(ConfigError, match="one device"):
        options(tuned().model_copy(update={"device": "0,1"}), data)


@pytest.mark.parametrize(
    ("kind", "stage", "wanted"),
    [
        ("cellfinder", STAGE1, {"finder", "encoder.pyramid", "encoder.detail"}),
        ("image_encoder", STAGE1, {"finder", "encoder.pyramid", "encoder.detail", "encoder.backbone"}),
        ("all_backbones", STAGE1, {"finder", "encoder.pyramid", "encoder.detail", "encoder.backbone", "decoder"}),
        ("all_backbones", STAGE2, {"decoder"}),
    ],
)
def test_what_learns_in_a_stage(kind: str, stage: str, wanted: set[str]) -> None:
    plan = TrainingPlan.model_validate({"encoder": "tiny", "stage1": {"type": kind}})
    spec = {"model": "two-stage", "encoder": "tiny", "width": 8, "classes": ["a"], "input": {}, "min_score": 0.5}
    network = networks.build(spec)
    unfreeze(network, learning(network, plan, stage))
    found = {name for name, each in network.named_parameters() if each.requires_grad}
    assert found == {name for name, _ in network.named_parameters() if name.startswith(tuple(wanted))}
    assert network.encoder.backbone.training == ("encoder.backbone" in wanted), "frozen statistics stay"


def test_rates_rise_and_fall_in_each_stage() -> None:
    plan = TrainingPlan(batch_size=2, min_steps=150, warmup_steps=10)
    first, second = stages_of(plan, 4)
    assert (first.epochs, first.steps, second.epochs) == (75, 150, plan.stage2.total_epochs)
    rates = [rate_at(plan, first, step) for step in range(first.steps)]
    assert np.argmax(rates) == 10 and rates[10] == plan.stage1.learning_rate and rates[-1] < 0.02 * rates[10]
