"""Tiny trainings end to end: real worker, real lake, real MLflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.config import Line, RecipeChoice
from tasks.errors import ConfigError, ServiceUnavailable, StepFailed
from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.registry import open_registry
from tasks.training.records import Origin, Trained, read, trained_key, version_key, vouched
from tasks.training.train import train_challenger
from tests.training.conftest import lake_with_mlflow, write_dataset

DETECTION = kind_of("detection")

VERSION = "d" * 64


def test_trains_logs_and_registers(night_lake: Lake, line: Line, tmp_path: Path) -> None:
    said: list[str] = []
    data = write_dataset(tmp_path / "data", val=True)

    training = train_challenger(night_lake, line, DETECTION, VERSION, data, True, progress=said.append)

    assert (training.epochs, training.steps, training.resumed_from_epoch) == (4, 8, None)
    assert night_lake.blobs.exists(training.weights_oid)
    kept = read(night_lake, trained_key(training.run_key), Trained)
    assert kept is not None and kept.checkpoint_oid is not None and night_lake.blobs.exists(kept.checkpoint_oid)
    registry = open_registry(night_lake.settings)
    record = registry.version(line.line, training.model_version)
    assert record.aliases == ("challenger",)
    assert record.about.classes == ("sperm", "impurity")
    assert record.weights_oid == training.weights_oid
    run = registry.client.get_run(training.mlflow_run)
    assert run.info.status == "FINISHED"
    assert run.data.params["train.imgsz"] == "64"
    assert run.data.params["dataset_version"] == VERSION
    assert run.inputs.dataset_inputs[0].dataset.digest == VERSION[:36]
    losses = registry.client.get_metric_history(training.mlflow_run, "train/box_loss")
    assert [entry.step for entry in losses] == [1, 2, 3, 4]
    assert {"AP50", "final/val/AP50", "seconds", "gradient_norm", "speed/images_per_s"} <= set(run.data.metrics)
    assert run.data.metrics["gradient_norm"] > 0
    shown = {
        entry.path
        for folder in ("val", "training")
        for entry in registry.client.list_artifacts(run.info.run_id, folder)
    }
    assert {"val/confusion_matrix.png", "val/labels_beside_predictions_0.jpg", "val/BoxPR_curve.png"} <= shown
    assert {"training/results.png", "training/training.log"} <= shown
    assert any("epoch" in text for text in said)


def test_the_same_key_returns_at_once_and_makes_nothing_twice(night_lake: Lake, line: Line, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", val=False)
    line = line.model_copy(update={"line": "twice-detector"})

    first = train_challenger(night_lake, line, DETECTION, VERSION, data, False, progress=lambda _: None)
    again = train_challenger(
        night_lake, line, DETECTION, VERSION, tmp_path / "gone.yaml", False, progress=lambda _: None
    )

    assert again == first
    registry = open_registry(night_lake.settings)
    assert len(registry.versions(line.line)) == 1
    assert len(registry.client.search_runs([registry.runs.experiment(line.line)])) == 1

    # Somebody deletes the whole model in MLflow, and registers something of that number: ours is registered anew.
    registry.client.delete_registered_model(line.line)
    registry.client.create_registered_model(line.line)
    run = registry.client.get_run(first.mlflow_run)
    model_id = run.outputs.model_outputs[0].model_id
    registry.client.create_model_version(line.line, source=f"models:/{model_id}", model_id=model_id)
    anew = train_challenger(
        night_lake, line, DETECTION, VERSION, tmp_path / "gone.yaml", False, progress=lambda _: None
    )
    assert (anew.model_version, anew.weights_oid, anew.mlflow_run) == ("2", first.weights_oid, first.mlflow_run)
    record = registry.version(line.line, "2")
    assert vouched(night_lake, record) == record
    assert read(night_lake, version_key(line.line, "2"), Origin) == Origin(run_key=first.run_key)


def test_without_a_validation_split_takes_the_last_epoch_and_claims_no_validation(
    night_lake: Lake, line: Line, tmp_path: Path
) -> None:
    data = write_dataset(tmp_path / "data", val=False)
    line = line.model_copy(update={"line": "noval-detector"})

    training = train_challenger(night_lake, line, DETECTION, VERSION, data, False, progress=lambda _: None)

    trained = read(night_lake, trained_key(training.run_key), Trained)
    assert trained is not None
    assert all(name.startswith("train_sample/") for name in trained.review)
    assert not any("AP" in name or name.startswith("val/") for entry in trained.history for name in entry.metrics)


def test_mlflow_being_down_costs_no_training(lake: Lake, mlflow_url: str, line: Line, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", val=False)
    recipe = line.recipe.model_copy(update={"plots": False})
    line = line.model_copy(update={"line": "down-detector", "recipe": recipe})
    said: list[str] = []

    with pytest.raises(ServiceUnavailable):
        train_challenger(
            lake_with_mlflow(lake, "http://127.0.0.1:9"), line, DETECTION, VERSION, data, False, progress=said.append
        )
    assert any("MLflow does not show this training for now" in text for text in said)

    # The dataset is gone: if anything were trained again, it would fail.
    gone = tmp_path / "gone.yaml"
    training = train_challenger(
        lake_with_mlflow(lake, mlflow_url), line, DETECTION, VERSION, gone, False, progress=said.append
    )
    assert (training.epochs, training.steps) == (4, 8)


def test_coco_weights_that_are_not_there_are_a_config_error(lake: Lake, line: Line, tmp_path: Path) -> None:
    line = line.model_copy(update={"recipe": RecipeChoice(name="detection-from-coco")})
    with pytest.raises(ConfigError, match=r"yolo11n\.pt.*nothing is downloaded"):
        train_challenger(lake, line, DETECTION, VERSION, tmp_path, False)


def test_starts_from_weights_in_the_lake(night_lake: Lake, line: Line, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", val=False)
    scratch = line.recipe.model_copy(update={"plots": False})
    first = line.model_copy(update={"line": "first-detector", "recipe": scratch})
    before = train_challenger(night_lake, first, DETECTION, VERSION, data, False, progress=lambda _: None)
    changes = {"imgsz": 64, "batch": 4, "nbs": 4, "epochs": 1, "min_steps": 1, "plots": False}
    recipe = RecipeChoice(name="detection-from-coco", weights=before.weights_oid, **changes)  # type: ignore[arg-type]
    then = line.model_copy(update={"line": "then-detector", "recipe": recipe})

    after = train_challenger(night_lake, then, DETECTION, VERSION, data, False, progress=lambda _: None)

    assert after.weights_oid != before.weights_oid
    assert (after.epochs, after.steps) == (1, 2)


def test_a_training_that_fails_says_why(night_lake: Lake, line: Line, tmp_path: Path) -> None:
    data = tmp_path / "data.yaml"
    (tmp_path / "images").mkdir()
    data.write_text(f"path: {tmp_path}\ntrain: images\nnames: {{0: sperm, 1: impurity}}\n")
    with pytest.raises(StepFailed, match=r"failed \(exit code 1\).*Error"):
        train_challenger(night_lake, line, DETECTION, VERSION, data, False, progress=lambda _: None)
