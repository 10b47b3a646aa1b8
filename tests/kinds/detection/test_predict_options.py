"""Another way of predicting is another model version of the same weights: judged anew, not trained anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.config import Line
from tasks.kinds import kind_of
from tasks.lake import Lake
from tasks.registry import open_registry
from tasks.training import train as detection
from tasks.training.records import Trained, read, trained_key
from tests.training.conftest import write_dataset

DETECTION = kind_of("detection")


def test_predict_options_make_a_version_without_a_training(
    night_lake: Lake, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_dataset(tmp_path / "data", val=False)
    recipe = line.recipe.model_copy(update={"plots": False, "epochs": 1})
    line = line.model_copy(update={"line": "looks", "recipe": recipe})

    def train(line: Line, version: str = "d" * 64) -> detection.Training:
        return detection.train_challenger(night_lake, line, DETECTION, version, data, False, progress=lambda _: None)

    first = train(line)

    def never(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(detection, "run_worker", never)
    sliced = line.model_copy(update={"recipe": recipe.model_copy(update={"tta": True, "slice_px": 64})})
    second = train(sliced)
    assert second.run_key != first.run_key
    assert second.model_version != first.model_version
    assert second.weights_oid == first.weights_oid
    version = open_registry(night_lake.settings).version("looks", second.model_version)
    assert version.about.predict == first_predict(night_lake, first) | {"tta": True, "slice_px": 64}
    assert train(sliced) == second
    trained = read(night_lake, trained_key(second.run_key), Trained)
    assert trained is not None
    assert (trained.run_key, trained.recipe["predict"]["slice_px"]) == (second.run_key, 64)

    with pytest.raises(AssertionError, match="trained again"):  # iou decides which epoch is the best one
        train(line.model_copy(update={"recipe": recipe.model_copy(update={"iou": 0.5})}))
    with pytest.raises(AssertionError, match="trained again"):
        train(sliced, "e" * 64)


def first_predict(lake: Lake, training: detection.Training) -> dict[str, object]:
    """The predict options of a training's recipe."""
    trained = read(lake, trained_key(training.run_key), Trained)
    assert trained is not None
    options: dict[str, object] = trained.recipe["predict"]
    return options
