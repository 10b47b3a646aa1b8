"""Stages of a detector's training: one run, one curve, one resume, and the same bytes whenever it was killed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from tasks.config import HOME, Line
from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.registry import open_registry
from tasks.training.records import Trained, read, trained_key
from tasks.training.train import train_challenger
from tasks.training.ultralytics_stages import spelt_out, stages_of
from tasks.training.worker_reports import Checkpoints
from tests.kinds.detection.small_trainings import make_job, run
from tests.training.conftest import write_dataset
from tests.training.killing import killing

DETECTION = kind_of("detection")
STAGES: list[dict[str, Any]] = [
    {"epochs": 2, "imgsz": 32, "batch": 8, "freeze": "all-but-head", "lr0": 0.01, "augmentation": "light"},
    {"epochs": 3, "imgsz": 64, "batch": 4, "augmentation": "heavy", "close_mosaic": 1},
]


def test_a_stage_says_what_is_otherwise() -> None:
    plan = spelt_out({"epochs": 9, "lr0": 0.1, "stages": [{"epochs": 2}, {"lr0": 0.2}]})
    assert plan == [{"epochs": 2, "lr0": 0.1}, {"epochs": 9, "lr0": 0.2}]
    assert spelt_out({"epochs": 9}) == [{"epochs": 9}]


def test_the_last_stage_is_prolonged_until_there_are_steps_enough_and_it_alone_stops_early() -> None:
    arguments = {"batch": 8, "nbs": 8, "patience": 2, "stages": [{"epochs": 3}, {"epochs": 2, "batch": 4, "nbs": 4}]}
    first, last = stages_of(arguments, min_steps=100, images=16)
    assert (first.first_epoch, last.first_epoch, first.all_epochs, last.all_epochs) == (0, 3, 27, 27)
    assert (first.arguments["epochs"], last.arguments["epochs"]) == (3, 24), "3 x 2 steps, and 24 x 4 are 102"
    assert (first.arguments["patience"], last.arguments["patience"]) == (0, 24)
    assert (first.last, last.last) == (False, True)


def test_without_stages_it_is_one() -> None:
    (only,) = stages_of({"epochs": 5, "patience": 3, "batch": 8, "nbs": 8}, min_steps=0, images=16)
    assert (only.count, only.first_epoch, only.all_epochs, only.last) == (1, 0, 5, True)
    assert (only.arguments["epochs"], only.arguments["patience"]) == (5, 3)


@pytest.fixture
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints after each epoch, whatever they cost."""
    real = Checkpoints.write

    def write(self: Checkpoints, epoch: int, content: Any, *, last: bool, stage_over: bool = False) -> None:
        self._cost_s = 0.0
        real(self, epoch, content, last=last, stage_over=stage_over)

    monkeypatch.setattr(Checkpoints, "write", write)


@pytest.mark.usefixtures("every_epoch")
def test_from_each_epochs_checkpoint_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole = make_job(tmp_path, stages=STAGES, copy_paste=0.5, focal_gamma=1.5, ema=0.99, ema_tau=10)
    kept = tmp_path / "kept"
    events = run(whole, kept)
    weights = (whole.folder / "weights.pt").read_bytes()

    assert not [place for place in (tmp_path, HOME) if str(place).encode() in weights], "a path of this machine"

    started = [event for event in events if event["event"] == "started"]
    assert [(each["stage"], each["imgsz"], each["first_epoch"], each["epochs"]) for each in started] == [
        (1, 32, 0, 5), (2, 64, 2, 5),
    ]  # fmt: skip
    epochs = [event for event in events if event["event"] == "epoch"]
    assert [(each["epoch"], each["epochs"], each["step"]) for each in epochs] == [
        (1, 5, 1), (2, 5, 2), (3, 5, 4), (4, 5, 6), (5, 5, 8),
    ]  # fmt: skip
    checkpoints = [event for event in events if event["event"] == "checkpoint"]
    assert [each["last"] for each in checkpoints] == [False] * 4 + [True]
    assert [each.get("stage_over", False) for each in checkpoints] == [False, True, False, False, False]
    rows = list(csv.DictReader((whole.folder / "run" / "results.csv").open()))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5]

    for epoch in range(1, 6):
        folder = tmp_path / f"from {epoch}"
        folder.mkdir()
        rest = run(whole.model_copy(update={"folder": folder, "resume_from": kept / f"{epoch}.ckpt"}))
        assert [each["epoch"] for each in rest if each["event"] == "epoch"] == list(range(epoch + 1, 6))
        assert (folder / "weights.pt").read_bytes() == weights, f"another model, gone on with after epoch {epoch}"
        rows = list(csv.DictReader((folder / "run" / "results.csv").open()))
        assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5]


def test_the_best_epoch_is_one_of_the_last_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ultralytics.engine.trainer import BaseTrainer

    from tasks.training.ultralytics_loading import load_checkpoint

    scores = iter((0.9, 0.8, 0.3, 0.5, 0.4))

    def validate(self: Any) -> tuple[dict[str, Any], float]:
        fitness = next(scores)
        self.best_fitness = max(fitness, self.best_fitness or 0)
        return {}, fitness

    monkeypatch.setattr(BaseTrainer, "validate", validate)
    job = make_job(tmp_path, stages=STAGES)
    run(job)
    held = load_checkpoint(job.folder / "run" / "weights" / "best.pt")
    assert held["best_fitness"] == 0.5 and held["epoch"] == 1, "the second epoch of the second stage"


def test_a_stage_begins_where_the_one_before_ended(tmp_path: Path) -> None:
    """With no rate to learn by, the second stage's weights are the first's; a head alone leaves the rest as it was."""
    import torch

    from tasks.training.ultralytics_loading import load_checkpoint

    def backbone(name: str, stages: list[dict[str, Any]]) -> dict[str, Any]:
        job = make_job(tmp_path / name, stages=stages, ema=0)
        run(job)
        state: dict[str, Any] = load_checkpoint(job.folder / "weights.pt")["model"].state_dict()
        return {key: value for key, value in state.items() if key.startswith("model.0.conv")}

    frozen = {"epochs": 1, "freeze": "all-but-head"}
    untouched = backbone("untouched", [frozen, frozen])
    learned = backbone("learned", [{"epochs": 2, "lr0": 0.02}, frozen])
    assert not any(torch.equal(untouched[key], learned[key]) for key in untouched)
    again = backbone("again", [{"epochs": 2, "lr0": 0.02}, frozen, frozen])
    assert all(torch.equal(again[key], learned[key]) for key in learned)


def test_killed_in_the_second_stage_it_is_one_run_with_the_same_weights(
    night_lake: Lake, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_dataset(tmp_path / "data", val=True)
    mixed = {"repeat_threshold": 1.0, "balanced_batches": True, "class_weights": "effective", "microscope": "heavy"}
    recipe = line.recipe.model_copy(
        update={"plots": False, "min_steps": 0, "epochs": 1, "stages": STAGES, **mixed},
    )
    whole, cut = (line.model_copy(update={"line": name, "recipe": recipe}) for name in ("staged", "cut"))
    before = train_challenger(night_lake, whole, DETECTION, "e" * 64, data, True, progress=lambda _: None)
    killed = killing(monkeypatch, lambda event: event["event"] == "epoch" and event["epoch"] == 4)
    said: list[str] = []

    training = train_challenger(night_lake, cut, DETECTION, "e" * 64, data, True, progress=said.append)

    assert len(killed) == 1
    assert training.resumed_from_epoch is not None and training.resumed_from_epoch >= 2, "not in the second stage"
    assert (training.epochs, training.weights_oid) == (5, before.weights_oid)
    assert any(text.startswith("stage 2 of 2, training on") for text in said)
    registry = open_registry(night_lake.settings)
    assert len(registry.client.search_runs([registry.runs.experiment("cut")])) == 1
    history = registry.client.get_metric_history(training.mlflow_run, "train/box_loss")
    assert [entry.step for entry in history] == [1, 2, 3, 4, 5]
    params = registry.client.get_run(training.mlflow_run).data.params
    assert params["setup.imgsz"] == "64" and "all-but-head" in params["train.stages"]
    trained = read(night_lake, trained_key(training.run_key), Trained)
    assert trained is not None and trained.setup["epochs"] == 5
    sheets = {f"training/contact_sheet_stage_0{stage}.jpg" for stage in (1, 2)}
    assert sheets <= trained.files.keys(), "of the stage before it was killed, too"
    shown = {file.path for file in registry.client.list_artifacts(training.mlflow_run, "training")}
    assert sheets <= shown
    other = read(night_lake, trained_key(before.run_key), Trained)
    assert other is not None and {name: trained.files[name] for name in sheets} == {
        name: other.files[name] for name in sheets
    }
    assert registry.version("cut", training.model_version).about.imgsz == 64
