"""What a script does with folders of pictures and label images, and what stands in the output tree."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from tasks.config import HOME
from tasks.errors import ConfigError, DataError, InsufficientData
from tasks.kinds.segmentation.python import (
    ExperimentConfig,
    ExperimentRunner,
    HyperparameterOptimizer,
    HyperparameterSpace,
    Stage1Config,
    Stage2Config,
    finetune,
)
from tasks.kinds.segmentation.python.folders import find_samples, write_pictures
from tasks.kinds.segmentation.python.splits import folds_of

SIDE = 64
TINY = {
    "weights": None,
    "encoder": "tiny",
    "width": 16,
    "imgsz": 64,
    "batch_size": 2,
    "min_steps": 0,
    "warmup_steps": 0,
    "cache": True,
}
"""Learns next to nothing in seconds."""
SCRIPT = """
import json, sys
from tasks.kinds.segmentation.python import finetune

if __name__ == "__main__":
    folder, more = sys.argv[1], json.loads(sys.argv[2])
    results = finetune(
        img_path=f"{folder}/images", mask_path=f"{folder}/masks", output_name="my_experiment",
        total_epochs_s1=more.pop("epochs"), total_epochs_s2=1, k_fold_training=True, k_folds=2,
        output_dir=f"{folder}/output", **more,
    )
    print(json.dumps([sorted(result) for result in results]))
"""


def draw(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture of three or four discs, 16 bit, and its label image."""
    random = np.random.default_rng(number)
    labels = np.zeros((SIDE, SIDE), np.uint16)
    for cell in range(1, 4 + number % 2):
        centre = (int(random.integers(8, 56)), int(random.integers(8, 56)))
        free = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), centre, int(random.integers(5, 9)), 1, -1) > 0
        labels[free & (labels == 0)] = cell
    picture = 400 + random.normal(0, 20, labels.shape) + 2000 * (labels > 0)
    return picture.astype(np.uint16), labels


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """images/ and masks/ of six pictures of three slides, in every form that is taken."""
    monkeypatch.setenv("NIGHTSCOPE_STATE_DIR", str(tmp_path / "state"))
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for number in range(6):
        picture, labels = draw(number)
        stem = f"slide{number // 2}_{number}"
        if number == 0:
            np.save(tmp_path / "images" / f"{stem}.npy", picture)
            np.save(tmp_path / "masks" / f"{stem}.npy", labels.astype(np.int64))
        elif number == 1:
            colour = np.stack([picture // 16, picture // 20, picture // 32], axis=2).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "images" / f"{stem}.png"), colour)
            cv2.imwrite(str(tmp_path / "masks" / f"{stem}_mask.png"), labels)
        else:
            tifffile.imwrite(tmp_path / "images" / f"{stem}.tif", picture)
            tifffile.imwrite(tmp_path / "masks" / f"{stem}_masks.tif", labels)
    return tmp_path


def experiment(folder: Path, name: str = "try", **more: Any) -> ExperimentConfig:
    """With the tiny network; an epoch each."""
    stages = {"stage1_config": Stage1Config(total_epochs=1), "stage2_config": Stage2Config(total_epochs=1)}
    changes = {"recipe_changes": TINY, "group_by": r"(slide\d)_", "output_dir": folder / "output"}
    return ExperimentConfig(folder / "images", folder / "masks", name, **{**stages, **changes, **more})


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_every_form_of_a_label_image_is_read_and_groups_stay_together(folder: Path) -> None:
    config = experiment(folder, strategy="k_fold", k_folds=3)
    samples = find_samples(config)
    pictures = write_pictures(samples, folder / "data", config)
    counts = [len(read(folder / "data" / picture.cells)) for picture in pictures]
    assert counts == [len(np.unique(draw(number)[1])) - 1 for number in range(6)]
    for fold in folds_of(config, pictures, folder / "data"):
        sides = {(picture.group, split) for picture, split in zip(pictures, fold, strict=True)}
        assert len(sides) == 3 and fold.count("test") == 2 and fold.count("val") == 0
    patient = experiment(folder, k_folds=3, stage1_config=Stage1Config(patience=2))
    assert all({"train", "val", "test"} == set(fold) for fold in folds_of(patient, pictures, folder / "data"))
    with pytest.raises(InsufficientData, match="k_fold: cannot make 4 folds of 3 groups of pictures"):
        folds_of(experiment(folder, k_folds=4), pictures, folder / "data")
    with pytest.raises(InsufficientData, match=r"k_fold: cannot make 2 folds of 2 groups.*measure on while training"):
        folds_of(experiment(folder, k_folds=2, preeval=True), pictures[:4], folder / "data")
    with pytest.raises(InsufficientData, match="train_val_split: cannot make two parts of 1 groups") as error:
        folds_of(experiment(folder, strategy="train_val_split"), pictures[:1], folder / "data")
    assert "donor" not in str(error.value)


def test_all_faults_of_folders_are_named_at_once(folder: Path) -> None:
    picture, labels = draw(9)
    tifffile.imwrite(folder / "images" / "slide7_alone.tif", picture)
    tifffile.imwrite(folder / "masks" / "slide8_alone_masks.tif", labels)
    (folder / "images" / "slide9_again.tif").write_bytes((folder / "images" / "slide1_2.tif").read_bytes())
    tifffile.imwrite(folder / "masks" / "slide9_again.tif", labels)
    with pytest.raises(DataError) as error:
        find_samples(experiment(folder))
    for said in ("slide7_alone.tif has no label image", "slide8_alone_masks.tif is the label image of no picture",
                 "slide1_2.tif and slide9_again.tif are the same picture"):  # fmt: skip
        assert said in str(error.value)


def test_two_label_images_of_one_picture_are_named(folder: Path) -> None:
    tifffile.imwrite(folder / "masks" / "slide7_both.tif", draw(9)[1])
    cv2.imwrite(str(folder / "masks" / "slide7_both.png"), draw(9)[1])
    cv2.imwrite(str(folder / "images" / "slide7_both.png"), draw(9)[0])
    with pytest.raises(DataError, match=r"slide7_both\.png and slide7_both\.tif are both the label image"):
        find_samples(experiment(folder))
    (folder / "masks" / "slide7_both.tif").unlink()
    assert any(sample.name == "slide7_both.png" for sample in find_samples(experiment(folder)))


def test_a_complex_augmentation_is_not_none(folder: Path) -> None:
    with pytest.raises(ConfigError, match="complex_augmentation: is more augmentation"):
        experiment(folder, augmentation=False, complex_augmentation=True).checked_recipe()
    for augmentation in (None, True):
        config = experiment(folder, augmentation=augmentation, complex_augmentation=True)
        config.checked_recipe()
        assert config.changes()["augmentation"]["on"] is True
    space = HyperparameterSpace(augmentation_flags=[False, True], complex_augmentation_flags=[False, True])
    base = experiment(folder, strategy="train_val_split")
    trials = HyperparameterOptimizer(base, space, folder / "search").trials()
    flags = {(each["augmentation_flags"], each["complex_augmentation_flags"]) for each in trials}
    assert flags == {(False, False), (True, False), (True, True)}


def test_a_label_image_of_another_size_is_refused(folder: Path) -> None:
    tifffile.imwrite(folder / "masks" / "slide1_2_masks.tif", np.ones((10, 12), np.uint16))
    config = experiment(folder)
    with pytest.raises(DataError, match=r"slide1_2_masks.tif: is not of its picture .*12 x 10"):
        write_pictures(find_samples(config), folder / "data", config)


def test_all_that_cannot_be_read_is_named_at_once(folder: Path) -> None:
    tifffile.imwrite(folder / "masks" / "slide1_2_masks.tif", np.ones((10, 12), np.uint16))
    tifffile.imwrite(folder / "masks" / "slide1_3_masks.tif", np.full((SIDE, SIDE), 0.5, np.float32))
    tifffile.imwrite(folder / "images" / "slide2_4.tif", np.zeros((5, SIDE, SIDE), np.uint8))
    config = experiment(folder)
    with pytest.raises(DataError) as error:
        write_pictures(find_samples(config), folder / "data", config)
    for said in ("slide1_2_masks.tif: is not of its picture", "slide1_3_masks.tif: it holds numbers that are not whole",
                 "slide2_4.tif: has 5 channels"):  # fmt: skip
        assert said in str(error.value), error.value


def test_a_mask_of_all_cells_together_is_not_learned_as_one_cell(folder: Path) -> None:
    tifffile.imwrite(folder / "masks" / "slide1_2_masks.tif", (draw(2)[1] > 0).astype(np.uint8) * 255)
    one = (draw(3)[1] == 1).astype(np.uint8)
    one[0, 0] = 1  # a crumb
    tifffile.imwrite(folder / "masks" / "slide1_3_masks.tif", one)
    config = experiment(folder)
    with pytest.raises(DataError, match=r"slide1_2_masks.tif: holds one number beside 0, in \d pieces"):
        write_pictures(find_samples(config), folder / "data", config)


def test_masks_may_lie_among_the_pictures(folder: Path) -> None:
    (folder / "masks").rename(folder / "images" / "masks")
    config = experiment(folder, "within")
    config.mask_path = folder / "images" / "masks"
    assert [sample.name.rpartition(".")[0] for sample in find_samples(config)] == [
        f"slide{n // 2}_{n}" for n in range(6)
    ]


def test_label_images_as_cellpose_calls_them_are_found(folder: Path) -> None:
    (folder / "masks" / "slide1_2_masks.tif").rename(folder / "masks" / "slide1_2_cp_masks.tif")
    assert len(find_samples(experiment(folder))) == 6


def test_all_folders_that_are_not_there_are_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere and .*elsewhere: no folder is there"):
        find_samples(ExperimentConfig(folder / "nowhere", folder / "elsewhere", "lost"))


def test_wrong_values_are_named_at_once(folder: Path) -> None:
    with pytest.raises(ConfigError) as error:
        experiment(
            folder, name="a/b", strategy="leave_one_out", stage1_config=Stage1Config(learning_rate=-1),
            recipe_changes={"colour": 3},
        ).checked_recipe()  # fmt: skip
    for said in ("output_name", "strategy", "learning_rate", "colour"):
        assert said in str(error.value), error.value


@pytest.mark.parametrize(
    "given",
    [
        {"k_folds": "5"}, {"k_folds": 2.5}, {"output_name": 7}, {"val_fraction": "0.2"}, {"seed": 0.5}, {"seed": -1},
        {"stage1_config": {"total_epochs": 3}}, {"stage2_config": None}, {"recipe_changes": None}, {"group_by": 5},
        {"stage2_config": Stage2Config(online_hard_negative_mining="no")}, {"class_name": " "}, {"img_path": None},
        {"img_path": ""}, {"additional_datasets": [{"img_path": "a"}], "multiple_datasets": True},
        {"channels": {"nucleus": "a"}}, {"channels": {"nucleus": -1}}, {"complex_augmentation": "yes"},
        {"recipe_changes": {"name": "yolo-seg"}}, {"recipe": "nothing"}, {"gamma": "bright"}, {"preeval": "yes"},
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_kind_is_named(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(given)) if "stage2_config" not in given else "stage2|online"):
        ExperimentRunner(ExperimentConfig(**{"img_path": "images", "mask_path": "masks", "output_name": "a", **given}))


@pytest.mark.parametrize(
    "given",
    [
        {"strategy": "full_dataset", "preeval": True},
        {"strategy": "full_dataset", "recipe_changes": {"preeval": True}},
        {"strategy": "full_dataset", "stage2_config": Stage2Config(patience=5)},
        {"strategy": "k_fold", "val_fraction": 0.0, "recipe_changes": {"stage1_patience": 5}},
    ],
)  # fmt: skip
def test_what_needs_pictures_set_aside_is_refused_where_none_are(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="needs pictures that are set aside"):
        ExperimentConfig("images", "masks", "a", **given).checked_recipe()
    assert ExperimentConfig("images", "masks", "a", recipe_changes={"stage1_patience": 5}).set_aside == 0.2


def test_a_script_keeps_its_own_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExperimentRunner, "run", lambda self: [self.config])
    mine = Stage1Config(learning_rate=0.002)
    (config,) = finetune("images", "masks", "a", total_epochs_s1=7, stage1_config=mine)
    assert config.stage1_config == Stage1Config(learning_rate=0.002, total_epochs=7)
    assert mine.total_epochs is None


def test_arguments_of_older_scripts_that_mean_nothing_here_are_named_with_what_to_say(folder: Path) -> None:
    with pytest.raises(ConfigError) as error:
        finetune(folder / "images", folder / "masks", "old", eosin=0.1, inversion=True, epochz=3)
    for said in ("eosin: there is no such stain transform", "inversion: say recipe_changes", "epochz: no such"):
        assert said in str(error.value)


def test_a_script_of_before_is_killed_goes_on_and_leaves_the_tree_it_knows(folder: Path) -> None:
    (folder / "script.py").write_text(SCRIPT)
    asked = {"epochs": 40, "recipe_changes": TINY, "group_by": r"(slide\d)_", "ce_loss_weight": 1.5, "gamma": 1.2,
             "online_hard_negative_mining": True, "augmentation": False, "debug": True}  # fmt: skip
    command = [sys.executable, "script.py", str(folder), json.dumps(asked)]
    output = folder / "output" / "my_experiment"
    state = output / "models" / "fold_1" / "state.json"
    running = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while running.poll() is None and not (state.is_file() and read(state)["epochs"]):
        time.sleep(0.005)
    os.kill(running.pid, signal.SIGKILL)  # the worker dies with it
    running.wait()
    assert "finished" not in read(state), "it was killed before its end"

    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    plan = read(output / "experiment_config.json")["recipe_as_it_runs"]["arguments"]
    assert (plan["stage1"]["total_epochs"], plan["stage1"]["ce_weight"], plan["gamma"]) == (40, 1.5, 1.2)
    assert plan["stage2"]["hard_mining"] == "plain" and plan["augmentation"]["on"] is False
    results = read(output / "results" / "individual_results.json")
    assert [result["pictures"]["test"] for result in results] in ([2, 4], [4, 2])
    assert results[0]["resumed_after_epochs"] and not results[1]["resumed_after_epochs"]
    for number, result in enumerate(results, 1):
        assert result["metrics"].keys() >= {"AP50_pooled", "AP50_mean", "PQ", "SQ", "RQ", "AJI", "F1_50", "mask_AP"}
        assert 0 <= result["best_f1"]["f1"] <= 1 and Path(result["weights"]).is_file()
        assert Path(result["weights"]).is_relative_to(output / "models" / f"fold_{number}")
        shown = output / "results" / f"fold_{number}" / "visualizations"
        assert list(shown.glob("01-slide?_?-*-errors.png")) and (output / "logs" / f"fold_{number}.log").is_file()
    together = read(output / "results" / "aggregated_results.json")["metrics"]["PQ"]
    assert together["mean"] == pytest.approx(sum(result["metrics"]["PQ"] for result in results) / 2)
    stages = {stage: read(output / "metrics" / f"{stage}_metrics.json") for stage in ("stage1", "stage2")}
    for fold in ("fold_1", "fold_2"):
        assert [each["epoch"] for each in stages["stage1"][fold]] == list(range(1, 41)), "none twice, none missing"
        assert [each["epoch"] for each in stages["stage2"][fold]] == [41] and stages["stage2"][fold][0]["loss"] > 0
    assert "fold_2: " in (output / "logs" / "experiment.log").read_text()


def test_a_fold_that_would_have_nothing_to_learn_is_refused_before_the_first_is_trained(folder: Path) -> None:
    for path in sorted((folder / "masks").iterdir())[2:]:  # of the last two slides
        tifffile.imwrite(path, np.zeros((SIDE, SIDE), np.uint8))
    with pytest.raises(DataError, match=r"fold \d of 3: learns from pictures without any cell.*2 of 6 pictures"):
        ExperimentRunner(experiment(folder, k_folds=3)).run()
    assert not list((folder / "output").rglob("state.json"))


def test_an_output_folder_of_another_experiment_is_not_written_over(folder: Path) -> None:
    first = experiment(folder, strategy="full_dataset")
    (result,) = ExperimentRunner(first).run()
    assert result["metrics"] is None and result["pictures"] == {"train": 6, "val": 0, "test": 0}
    assert ExperimentRunner(first).run() == [result], "what is finished is returned"
    with pytest.raises(ConfigError, match=r"holds another experiment.*seed, recipe_fingerprint"):
        ExperimentRunner(experiment(folder, strategy="full_dataset", seed=1)).run()
    with pytest.raises(ConfigError, match=r"holds another experiment.*class_name"):
        ExperimentRunner(experiment(folder, strategy="full_dataset", class_name="nucleus")).run()


def test_a_search_tries_each_combination_once_and_names_the_best(folder: Path) -> None:
    base = experiment(folder, "hp", strategy="train_val_split", val_fraction=0.34)
    space = HyperparameterSpace(stage1_learning_rates=[1e-3, 1e-4])
    search = HyperparameterOptimizer(
        base, space, folder / "search", max_parallel=2, metric_name="metrics", metric_key="recall"
    )
    found = search.run_grid_search()
    tried = {each["hyperparameters"]["stage1_learning_rates"] for each in found["all_trials"]}
    assert found["n_trials"] == 2 and tried == {1e-3, 1e-4} and all(each["success"] for each in found["all_trials"])
    assert found["best_metric_value"] == max(each["metric_value"] for each in found["all_trials"])
    alone = read(Path(found["best_trial"]["output"]) / "results" / "aggregated_results.json")["metrics"]["recall"]
    assert (alone["mean"], alone["sd"]) == (found["best_metric_value"], None), "a script reads it after one part, too"
    assert read(folder / "search" / "best_configuration.json") == found["best_trial"]["hyperparameters"]
    drawn = search.run_random_search(n_trials=5)
    assert drawn["n_trials"] <= 2, "the same values twice would be the same training twice"
    known = {each["output"]: each["metric_value"] for each in found["all_trials"]}
    assert all(known[each["output"]] == each["metric_value"] for each in drawn["all_trials"])


def test_what_is_drawn_follows_from_the_seed(folder: Path) -> None:
    space = HyperparameterSpace(
        stage1_learning_rates=[1e-3, 1e-4], stage2_learning_rates=[1e-3, 1e-4], focal_gammas=[1.0, 2.0],
        gammas=[1.0, 1.4], augmentation_flags=[False, True],
    )  # fmt: skip
    base = experiment(folder, strategy="train_val_split")

    def drawn(seed: int) -> list[dict[str, Any]]:
        return HyperparameterOptimizer(base, space, folder / "search", seed=seed).trials(random=6)

    assert drawn(1) == drawn(1) != drawn(2) and len(drawn(1)) <= 6
    every = HyperparameterOptimizer(base, space, folder / "search").trials()
    assert len({json.dumps(each) for each in every}) == 32 and {True, False} == {e["augmentation_flags"] for e in every}
    with pytest.raises(ConfigError, match="full_dataset measures nothing"):
        HyperparameterOptimizer(experiment(folder, strategy="full_dataset"), space, folder / "search")


def test_a_search_that_cannot_be_is_refused(folder: Path) -> None:
    base = experiment(folder, strategy="train_val_split")
    space = HyperparameterSpace(gammas=1.4, stage1_types="all_backbones")  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match=r"stage1_types: expected a list.*gammas: expected a list of values, found 1.4"
    ):
        HyperparameterOptimizer(base, space, folder / "search").run_grid_search()
    with pytest.raises(ConfigError, match="gamma"):
        HyperparameterOptimizer(base, HyperparameterSpace(gammas=[1.0, -2]), folder / "search").run_grid_search()
    for count in ("20", 0, 2.5):
        with pytest.raises(ConfigError, match="expected 1 to 1000"):
            HyperparameterOptimizer(base, HyperparameterSpace(gammas=[1.0]), folder / "s").run_random_search(count)
    with pytest.raises(ConfigError, match="max_parallel"):
        HyperparameterOptimizer(base, space, folder / "search", max_parallel="2")  # type: ignore[arg-type]
    spread = HyperparameterSpace(stage1_learning_rates=np.geomspace(1e-4, 1e-3, 3))  # type: ignore[arg-type]
    assert len(HyperparameterOptimizer(base, spread, folder / "search").trials()) == 3


def test_the_page_for_scripts_shows_what_can_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (HOME / "docs" / "how-to" / "finetune-segmenters.md").read_text()
    monkeypatch.setattr(ExperimentRunner, "run", lambda self: [self.config])
    monkeypatch.setattr(HyperparameterOptimizer, "_run", lambda self, trials: {
        "best_trial": {"hyperparameters": trials[0]}, "best_metric_value": len(trials)})  # fmt: skip
    names: dict[str, Any] = {}
    exec("\n".join(re.findall(r"```python\n(.*?)```", page, re.S)), names)
    assert names["results"][0].checked_recipe().arguments["stage2"]["hard_mining"] == "plain"
    assert 1 <= names["found"]["best_metric_value"] <= 20
