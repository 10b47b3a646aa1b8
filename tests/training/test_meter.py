"""What every training is watched by: measured on real optimizers, and ended at the first loss that is no number."""

from __future__ import annotations

import math
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tasks.kind import Job
from tasks.training import event_files, meter
from tasks.training.event_files import EventFiles, folder_of, prune
from tasks.training.meter import Broken, Gradients, Watched, note_gradient
from tasks.training.ultralytics_callbacks import TrainingCallbacks
from tasks.training.worker_reports import Pace

STARTED = {"train_images": 40, "steps_per_epoch": 5, "first_epoch": 0}
EPOCH = {"epoch": 1, "epochs": 2, "step": 5, "at_ms": 0}


class Heard:
    """The worker's reporter: keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def __call__(self, event: str, **content: Any) -> None:
        self.events.append({"event": event, **content})

    def of(self, event: str) -> list[dict[str, Any]]:
        return [each for each in self.events if each["event"] == event]


@pytest.fixture
def gradients(monkeypatch: pytest.MonkeyPatch) -> Gradients:
    """A process's own, as if it had just begun; each step's gradient is measured."""
    fresh = Gradients()
    monkeypatch.setattr(meter, "GRADIENTS", fresh)
    monkeypatch.setattr(meter, "NORM_EVERY_S", 0.0)
    return fresh


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    now = SimpleNamespace(s=100.0)
    monkeypatch.setattr(meter.time, "monotonic", lambda: now.s)
    return now


def step(gradient: float, rate: float = 0.1) -> None:
    """A step of an optimizer of one parameter of two numbers, with a gradient of that length."""
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([0.6 * gradient, 0.8 * gradient])
    torch.optim.SGD([weight], lr=rate).step()


def test_rate_gradient_and_speed_of_whatever_trains(gradients: Gradients, clock: Any) -> None:
    heard = Heard()
    watched = Watched(heard)
    watched("started", **STARTED)
    for length in (3.0, 5.0):
        step(length)
    clock.s += 4.0
    watched("progress", epoch=1, step=2, loss={"box_loss": 1.0})
    (told,) = heard.of("progress")
    assert told["lr"] == pytest.approx(0.1) and told["gradient_norm"] == pytest.approx(5.0)
    assert told["images_per_s"] == pytest.approx(2 * 8 / 4)
    step(7.0, rate=0.05)
    clock.s += 6.0
    watched("epoch", **EPOCH, metrics={"train/loss": 0.5})
    (told,) = heard.of("epoch")
    assert told["metrics"]["gradient_norm"] == pytest.approx(5.0), "the mean of the epoch"
    assert told["metrics"]["lr"] == pytest.approx(0.05) and told["metrics"]["speed/images_per_s"] == 4.0
    assert told["metrics"]["train/loss"] == 0.5
    watched("epoch", **EPOCH | {"step": 5, "epoch": 2}, metrics={"train/loss": 0.5, "lr/pg0": 0.2})
    assert heard.of("epoch")[1]["metrics"] == {"train/loss": 0.5, "lr/pg0": 0.2}, "its own rate, and no step since"


def test_a_training_that_goes_on_has_a_speed_from_its_second_report_on(clock: Any, gradients: Gradients) -> None:
    heard = Heard()
    watched = Watched(heard)
    watched("started", **STARTED | {"first_epoch": 4})
    for number in (31, 33):
        clock.s += 2.0
        watched("progress", epoch=5, step=number, loss={})
    assert [told.get("images_per_s") for told in heard.of("progress")] == [None, 8.0]
    watched("started", **STARTED | {"first_epoch": 6, "train_images": 80})  # another stage of the same process
    clock.s += 1.0
    watched("progress", epoch=7, step=34, loss={})
    assert heard.of("progress")[-1]["images_per_s"] == 16.0


def test_a_gradient_is_shown_as_it_was_before_it_was_clipped(gradients: Gradients) -> None:
    Watched(Heard())("started", **STARTED)
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([30.0, 40.0])
    note_gradient(torch.nn.utils.clip_grad_norm_([weight], 1.0))
    torch.optim.SGD([weight], lr=0.1).step()
    assert gradients.taken(whole=True) == pytest.approx(50.0)
    for overflow in (math.inf, math.nan):
        note_gradient(torch.tensor(overflow))
    assert gradients.taken(whole=True) is None, "what mixed precision throws away is no gradient"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_training_and_names_its_part(value: float) -> None:
    for event, content in (
        ("progress", {"epoch": 3, "step": 40, "loss": {"box_loss": 1.0, "cls_loss": value}}),
        ("epoch", {"epoch": 3, "step": 40, "metrics": {"train/box_loss": 1.0, "train/cls_loss": value}}),
    ):
        heard = Heard()
        with pytest.raises(Broken, match=r"epoch 3, step 40: .*cls_loss"):
            Watched(heard)(event, **content)
        (broken,) = heard.events
        assert (broken["event"], broken["epoch"], broken["step"], broken["value"]) == ("broken", 3, 40, str(value))
        assert broken["part"].endswith("cls_loss")


def test_what_is_undefined_on_the_validation_split_ends_nothing() -> None:
    heard = Heard()
    Watched(heard)("epoch", **EPOCH, metrics={"train/loss": 1.0, "val/ROC_AUC": math.nan})
    assert heard.of("epoch") and not heard.of("broken")


def test_our_own_trainings_end_at_the_very_step() -> None:
    heard = Heard()
    pace = Pace(heard, 1_000.0, epochs=2, steps=10, first_step=0)
    pace.step(1, 1, {"loss": 0.5})
    with pytest.raises(Broken, match="epoch 1, step 2: loss is nan"):
        pace.step(2, 1, {"loss": math.nan})


def test_a_training_by_ultralytics_ends_at_the_very_batch(tmp_path: Path) -> None:
    """It would train the epoch anew from its last file, three times over, and fail without a word on why."""
    heard = Heard()
    job = Job(kind="detection", run_key="k", folder=tmp_path, data=tmp_path, has_val=False, seed=0, state_dir=tmp_path,
              locks_dir=tmp_path, parent_pid=1, progress_every_s=1_000)  # fmt: skip
    trainer = SimpleNamespace(
        epoch=1, steps=7, stage=SimpleNamespace(first_epoch=8),
        tloss={"box_loss": torch.tensor(1.0), "dfl_loss": torch.tensor(1.0)},
    )  # fmt: skip
    callbacks = TrainingCallbacks(job, trainer, heard)
    callbacks.batch()
    trainer.tloss["dfl_loss"] = torch.tensor(math.nan)
    with pytest.raises(Broken, match="epoch 10, step 7: dfl_loss is nan"):
        callbacks.batch()
    assert heard.of("broken")[0]["part"] == "dfl_loss"


class Writer:
    """In the place of torch's `SummaryWriter`: keeps what it is given."""

    made: list[Writer]

    def __init__(self, folder: str, **options: Any) -> None:
        self.folder, self.options, self.scalars = folder, options, list[tuple[str, float, int]]()
        self.flushed = 0
        Writer.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))

    def flush(self) -> None:
        self.flushed += 1


def test_events_become_scalars_by_step_and_a_resumed_training_hides_what_it_repeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Writer.made = []
    module: Any = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(event_files, "installed", lambda: True)
    files = EventFiles(tmp_path / "cells" / "run-1")
    files("started", **STARTED)
    assert Writer.made == [], "nothing to show yet, and the step to go on from is not known"
    files("progress", epoch=3, step=12, loss={"box_loss": 0.5}, lr=0.1, images_per_s=8.0)
    files("epoch", epoch=3, step=15, metrics={"train/box_loss": 0.4, "metrics/mAP50(B)": 0.7})
    (writer,) = Writer.made
    assert writer.options["purge_step"] == 12 and writer.folder.endswith("cells/run-1") and writer.flushed == 2
    assert writer.scalars == [
        ("live/box_loss", 0.5, 12), ("live/lr", 0.1, 12), ("live/images_per_s", 8.0, 12),
        ("train/box_loss", 0.4, 15), ("metrics/mAP50(B)", 0.7, 15), ("epoch", 3.0, 15),
    ]  # fmt: skip


def test_without_the_package_it_is_said_what_is_missing_and_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(event_files, "installed", lambda: False)
    heard = Heard()
    watched = Watched(heard, EventFiles(tmp_path / "cells" / "run-1"))
    watched("progress", epoch=1, step=1, loss={})
    assert "the package tensorboard is not installed" in capfd.readouterr().err
    assert heard.of("progress") and not (tmp_path / "cells").exists()


def test_tensorboard_reads_what_is_written_and_a_resumed_training_writes_no_step_twice(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "cells" / "run-1"
    for steps in ((1, 2, 3), (3, 4)):  # killed after step 3 was shown, gone on from what was kept at step 2
        files = EventFiles(folder)
        for step in steps:
            files("progress", epoch=1, step=step, loss={"loss": 1 / step})
    read = EventAccumulator(str(folder))
    read.Reload()
    assert [(each.step, round(each.value, 3)) for each in read.Scalars("live/loss")] == [
        (1, 1.0), (2, 0.5), (3, 0.333), (4, 0.25),
    ]  # fmt: skip


def test_a_writer_that_fails_ends_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise ImportError("TensorBoard logging requires another release")

    monkeypatch.setattr(EventFiles, "_open", fail)
    heard = Heard()
    watched = Watched(heard, EventFiles(tmp_path))
    watched("progress", epoch=1, step=1, loss={"loss": 0.5})
    watched("progress", epoch=1, step=2, loss={"loss": 0.5})
    assert len(heard.of("progress")) == 2
    assert capfd.readouterr().err.count("requires another release") == 1


def test_the_newest_runs_of_a_line_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setattr(event_files, "KEPT_RUNS", 2)
    folder = folder_of(tmp_path, "cells")
    for age, name in enumerate(("old", "newer", "newest")):
        (folder / name).mkdir(parents=True)
        os.utime(folder / name, (age, age))
    prune(folder)
    assert {path.name for path in folder.iterdir()} == {"newer", "newest"}
