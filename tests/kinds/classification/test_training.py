"""Whole trainings on tiny pictures: events, what is handed over, and what a kill changes (nothing)."""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tasks.config import RecipeChoice
from tasks.errors import ConfigError, DataError, StepFailed
from tasks.kind import Job
from tasks.kinds.classification.predictor import LoadedClassifier
from tasks.kinds.classification.recipe import load_recipe
from tasks.kinds.classification.saliency import heat
from tasks.kinds.classification.train import EPOCH_SCORE, options
from tasks.training import supervise
from tasks.training.meter import Broken
from tasks.training.supervise import WorkerKilled
from tests.kinds.classification.pictures import (
    TINY,
    job,
    of,
    pictures_to_test,
    train_here,
    train_in_worker,
    write_dataset,
)

pytestmark = pytest.mark.integration

LITE2 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"

LITE = {"model": "tf_efficientnet_lite0", "weights": "efficientnet-lite0", "imgsz": 64}
SEVERAL = {
    **LITE, "head": "svm-rbf", "calibration": "platt", "views": 2, "average_views": True, "tta": False,
    "more_encoders": ["efficientnet-lite2", {"weights": "efficientnet-lite0", "contrast": "alike"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes, with a validation split."""
    return write_dataset(tmp_path_factory.mktemp("one-class"))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three labels, a fifth of them missing."""
    return write_dataset(tmp_path_factory.mktemp("many-labels"), multi_label=True)


def accuracy(weights: Any, data: Path) -> float:
    images, targets = pictures_to_test(data)
    chances = np.stack(LoadedClassifier(Path(weights), device="cpu").predict(images))
    assert chances.dtype == np.float64 and chances.shape == targets.shape
    known = ~np.isnan(targets)
    return float(((chances >= 0.5) == (targets > 0.5))[known].mean())


def test_a_training_reports_and_hands_over_a_model_that_has_learned(data: Path, tmp_path: Path) -> None:
    events = train_here(job(data, tmp_path, **{**TINY, "epochs": 12}))
    (started,), (finished,) = of(events, "started"), of(events, "finished")
    assert (started["train_images"], started["epochs"], started["steps_per_epoch"]) == (36, 12, 5)
    assert started["imgsz"] == 32 and started["device"] == "cpu" and started["first_epoch"] == 0
    epochs = of(events, "epoch")
    assert [event["step"] for event in epochs] == [5 * (number + 1) for number in range(12)]
    assert {"train/loss", "lr", "val/loss", EPOCH_SCORE} <= epochs[-1]["metrics"].keys()
    assert of(events, "checkpoint")[-1]["last"] and of(events, "progress")[0]["steps"] == 60
    assert {"val/accuracy", "val/temperature", "val_tta/ROC_AUC"} <= finished["review"].keys()
    assert set(finished["files"]) == {"training/augmented.png", "training/epochs.csv", "val/confusion_matrix.csv"}
    assert all(Path(path).is_file() for path in finished["files"].values())
    assert accuracy(finished["weights"], data) > 0.9


def test_a_loss_that_is_no_number_ends_it_before_another_checkpoint(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[Any] = []

    def breaking(*_: Any, **__: Any) -> Any:
        def loss(logits: Any, targets: Any) -> Any:
            losses.append(logits)
            return logits.sum() * (float("nan") if len(losses) == 8 else 0.0)

        return loss

    monkeypatch.setattr("tasks.kinds.classification.trainer.loss_of", breaking)
    with pytest.raises(Broken, match="epoch 2, step 8: loss is nan"):
        train_here(job(data, tmp_path, **{**TINY, "epochs": 12}))
    assert len(losses) == 8
    assert [path.stem for path in sorted(tmp_path.rglob("*.ckpt"))] == ["000001"]


def test_several_labels_with_missing_ones(many: Path, tmp_path: Path) -> None:
    changes = {**TINY, "epochs": 15, "class_weights": "balanced", "sampler": "balanced"}
    (finished,) = of(train_here(job(many, tmp_path, **changes)), "finished")
    assert accuracy(finished["weights"], many) > 0.9
    model = LoadedClassifier(Path(finished["weights"]), tta=True)
    assert not np.allclose(np.stack(model.predict(pictures_to_test(many)[0])).sum(1), 1), "labels are independent"


def test_without_a_validation_split(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", val=False)
    events = train_here(job(data, tmp_path / "run", val=False, **{**TINY, "epochs": 2}))
    (finished,) = of(events, "finished")
    assert finished["review"] == {} and set(finished["files"]) == {"training/augmented.png", "training/epochs.csv"}
    assert LoadedClassifier(Path(finished["weights"])).spec["temperature"] == {"plain": 1.0, "tta": 1.0}


def test_everything_at_once(data: Path, tmp_path: Path) -> None:
    """Stages, mixup, focal loss, averages, clipped gradients, bf16, SGD, layer decay: none stands in another's way."""
    stages = [{"train": "head", "epochs": 1, "lr": 0.1}, {"train": 1, "epochs": 1, "lr": 0.05},
              {"train": "all", "epochs": 2, "lr": 0.01}]  # fmt: skip
    changes = {**TINY, "stages": stages, "mixup": 0.2, "loss": "focal", "ema": 0.5, "clip_norm": 1.0, "amp": "bf16",
               "optimizer": "SGD", "layer_decay": 0.8, "erase": 0.5, "blur": 0.5, "label_smoothing": 0.1,
               "sampler": "balanced", "monitor": "ROC_AUC"}  # fmt: skip
    events = train_here(job(data, tmp_path, **changes))
    assert len(of(events, "epoch")) == 4 and of(events, "finished")


def test_early_stopping(data: Path, tmp_path: Path) -> None:
    changes = {**TINY, "epochs": 40, "lr": 0.0, "patience": 2, "freeze_epochs": 1, "monitor": "accuracy"}
    events = train_here(job(data, tmp_path, **changes))
    assert 3 <= len(of(events, "epoch")) < 10
    assert of(events, "checkpoint")[-1]["last"]


@pytest.mark.parametrize(
    "changes",
    [{"head": "logistic"}, {"head": "svm-rbf"}, {"head": "logistic", "pooling": "mean+deviation", "last_layer": False}],
    ids=["logistic", "svm-rbf", "texture"],
)
def test_frozen_features(data: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    changes = {**LITE, "C": 1.0, "views": 2, "blocks": 3, **changes}
    events = train_here(job(data, tmp_path, name="frozen-features", **changes))
    (finished,) = of(events, "finished")
    assert len(of(events, "epoch")) == 2 and accuracy(finished["weights"], data) > 0.9
    assert {str(event["loss"]) for event in of(events, "progress")} == {"{}"}, "looking at pictures has no loss"


@pytest.mark.parametrize("several", [False, True], ids=["one-class", "many-labels"])
def test_centred_features_are_alike_whichever_way_a_picture_is_turned(
    data: Path, many: Path, tmp_path: Path, several: bool
) -> None:
    asked = job(many if several else data, tmp_path, name="centred-features", imgsz=64, window=0.3)
    (finished,) = of(train_here(asked), "finished")
    model = LoadedClassifier(Path(finished["weights"]), device="cpu")
    images, targets = pictures_to_test(asked.data)
    chances = np.stack(model.predict(images))
    known = ~np.isnan(targets)
    assert float(((chances >= 0.5) == (targets > 0.5))[known].mean()) > 0.8
    turned = [np.ascontiguousarray(np.rot90(image)[::-1]) for image in images]
    assert np.allclose(np.stack(model.predict(turned)), chances, atol=1e-3), "scaling rounds, no more than that"
    assert model.spec["temperature"]["plain"] == model.spec["temperature"]["tta"]
    again = LoadedClassifier(Path(finished["weights"]), device="cpu", tta=True)
    assert np.array_equal(np.stack(again.predict(images)), chances), "there is nothing left to average"
    assert (model.spec["head"]["views"], model.spec["head"]["window"]) == (8, 0.3)


@pytest.mark.parametrize("several", [False, True], ids=["one-class", "many-labels"])
def test_several_encoders_stand_in_one_model(data: Path, many: Path, tmp_path: Path, several: bool) -> None:
    asked = job(many if several else data, tmp_path, name="frozen-features", **{**SEVERAL, "C": 3.0})
    events = train_here(asked)
    (started,), (finished,) = of(events, "started"), of(events, "finished")
    (listed,) = started["more_encoders"]
    assert listed == {"model": "tf_efficientnet_lite2", "weights": "efficientnet-lite2", "sha256": LITE2}
    model = LoadedClassifier(Path(finished["weights"]), device="cpu")
    head = model.spec["head"]
    assert head["more"] == [listed] and [look["network"] for look in head["looks"]] == [1, 0]
    lite0, lite2 = (sum(parameter.numel() for parameter in part.parameters()) for part in
                    (model.network.backbone, model.network.more[0]))  # fmt: skip
    assert started["parameters"] == lite0 + lite2 and lite0 < lite2
    assert accuracy(finished["weights"], asked.data) > 0.8
    alone = job(asked.data, tmp_path / "alone", name="frozen-features", **{**SEVERAL, "more_encoders": []})
    (other,) = of(train_here(alone), "finished")
    fewer = LoadedClassifier(Path(other["weights"])).spec["head"]
    assert "more" not in fewer and "looks" not in fewer and fewer["features"] < head["features"] / 2


def test_a_picture_shows_where_a_model_looks(data: Path, tmp_path: Path) -> None:
    images, targets = pictures_to_test(data)
    disc = next(image for image, row in zip(images, targets, strict=True) if row[0] == 1)
    models = {
        "own": {**TINY, "epochs": 12},
        "features": {**LITE, "head": "logistic", "views": 1, "imgsz": 128, "pooling": "mean+deviation", "window": 0.5},
        "several": {**SEVERAL, "C": 3.0, "imgsz": 128},
        "without-the-last-layer": {**LITE, "head": "svm-rbf", "C": 3.0, "views": 1, "imgsz": 128, "last_layer": False},
        "vit": {**TINY, "model": "vit_tiny", "epochs": 1, "imgsz": 64},
    }
    for name, changes in models.items():
        recipe = "frozen-features" if "head" in changes else "from-scratch"
        (finished,) = of(train_here(job(data, tmp_path / name, name=recipe, **changes)), "finished")
        model = LoadedClassifier(Path(finished["weights"]), device="cpu")
        found = [heat(model, disc, index) for index in range(3)]  # none where nothing speaks for a class
        own = found[0] if name == "own" else next(each for each in found if each is not None)
        assert own is not None and own.shape == disc.shape[:2] and own.dtype == np.float32
        assert own.min() >= 0 and own.max() == pytest.approx(1)
        before = model.predict([disc])[0]
        assert np.array_equal(model.predict([disc])[0], before), "hooks are left behind"
    bright = disc.mean(2) > 150
    own = heat(LoadedClassifier(tmp_path / "own" / "weights.pt", device="cpu"), disc, 0)
    assert own is not None and own[bright].mean() > own[~bright].mean()


def killed_after(asked: Job, epoch: int) -> None:
    """Kill -9 the worker when it has reported the checkpoint of an epoch."""
    with pytest.raises(WorkerKilled):
        for event in supervise.events(asked, asked.folder / "training.log"):
            if event["event"] == "checkpoint" and event["epoch"] == epoch:
                (worker,) = (one for one in psutil.Process().children() if "tasks.training.worker" in one.cmdline())
                worker.send_signal(signal.SIGKILL)


@pytest.mark.parametrize(
    "changes",
    [
        {**TINY, "epochs": 4, "freeze_epochs": 1, "mixup": 0.2, "ema": 0.9, "keep": "best", "dropout": 0.5},
        {**LITE, "head": "logistic", "views": 2},
        {**LITE, "head": "svm-rbf", "views": 3, "average_views": True, "window": 0.2, "tta": False},
        SEVERAL,
    ],
    ids=["network", "features", "averaged", "several"],
)
def test_killed_and_resumed_is_the_same_to_the_byte(data: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    name = "frozen-features" if "head" in changes else "from-scratch"
    whole = job(data, tmp_path / "whole", name=name, **changes)
    (expected,) = of(train_in_worker(whole), "finished")
    first = job(data, tmp_path / "killed", name=name, **changes)
    killed_after(first, 1)
    second = job(data, tmp_path / "resumed", name=name, **changes).model_copy(
        update={"resume_from": first.folder / "checkpoints" / "000001.ckpt"}
    )
    events = train_in_worker(second)
    assert of(events, "started")[0]["first_epoch"] == 1
    assert of(events, "epoch")[0]["epoch"] == 2
    (finished,) = of(events, "finished")
    assert digest(finished["weights"]) == digest(expected["weights"])
    assert finished["review"] == expected["review"]
    table = "training/epochs.csv"
    if table in expected["files"]:
        assert Path(finished["files"][table]).read_text() == Path(expected["files"][table]).read_text()


def test_killed_after_the_last_epoch_nothing_is_trained_again(data: Path, tmp_path: Path) -> None:
    whole = job(data, tmp_path / "whole", **{**TINY, "epochs": 2})
    events = train_here(whole)
    late = job(data, tmp_path / "late", **{**TINY, "epochs": 2}).model_copy(
        update={"resume_from": Path(of(events, "checkpoint")[-1]["path"])}
    )
    again = train_here(late)
    assert not of(again, "epoch")
    assert digest(of(again, "finished")[0]["weights"]) == digest(of(events, "finished")[0]["weights"])


def digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_the_seed_decides(data: Path, tmp_path: Path) -> None:
    weights = [
        of(train_here(job(data, tmp_path / str(number), seed=seed, **{**TINY, "epochs": 1})), "finished")[0]["weights"]
        for number, seed in enumerate((0, 0, 1))
    ]
    assert digest(weights[0]) == digest(weights[1]) != digest(weights[2])


def test_too_few_pictures_and_pictures_that_are_none(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", images=3)
    (tmp_path / "data" / "images" / "train-000.png").write_bytes(b"no picture")
    with pytest.raises(StepFailed, match=r"picture train-000\.png: cannot be read"):
        train_in_worker(job(data, tmp_path / "run", **TINY))
    small = write_dataset(tmp_path / "small", images=1, classes=("disc",))
    with pytest.raises(DataError, match=r"the training split is too small; expected 2 pictures.*found 1"):
        job(small, tmp_path / "run2", **TINY)  # before any process is started


def test_a_last_batch_of_one_picture_is_left_out(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", images=3)  # 9 pictures: one more than a batch
    events = train_here(job(data, tmp_path / "run", **{**TINY, "model": "improved-cnn", "epochs": 1}))
    assert [event["step"] for event in of(events, "epoch")] == [1] and of(events, "finished")


def test_a_batch_of_one_picture_is_refused_where_nothing_can_be_averaged(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set `batch` to 2 or more"):
        train_here(job(data, tmp_path, name="from-scratch", model="tf_efficientnet_lite0", imgsz=32, batch=1))


def test_several_devices_are_refused(data: Path) -> None:
    recipe = load_recipe(RecipeChoice(name="fine-tune")).model_copy(update={"device": "0,1"})
    with pytest.raises(ConfigError, match="one device"):
        options(recipe, data)
