"""Each recipe that ships says nothing without effect, becomes arguments of ultralytics, and trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.config import HOME, RecipeChoice, load_line
from tasks.kinds.detection.effects import without_effect
from tasks.kinds.detection.job import DetectorJob
from tasks.kinds.detection.recipe import RECIPES, load_recipe, recipe_names
from tasks.kinds.detection.train import options, ultralytics_arguments
from tasks.training.ultralytics_knobs import apart
from tasks.training.ultralytics_stages import spelt_out, stages_of
from tests.kinds.detection.small_trainings import make_job, set_up
from tests.training.conftest import write_dataset

OF_ULTRALYTICS = [name for name in recipe_names() if not load_recipe(RecipeChoice(name=name)).anchored]
STAGES = [
    (name, place)
    for name in OF_ULTRALYTICS
    for place in range(len(spelt_out(load_recipe(RecipeChoice(name=name)).arguments)))
]


@pytest.mark.parametrize("name", OF_ULTRALYTICS)
def test_it_says_why_and_nothing_that_has_no_effect(name: str) -> None:
    text = (RECIPES / f"{name}.yaml").read_text()
    assert text.startswith("# ") and text.count(" # ") >= 1
    recipe = load_recipe(RecipeChoice(name=name))
    said = yaml.safe_load(text)
    beside = {"weights": recipe.weights, "device": recipe.device}
    assert without_effect(recipe.arguments | beside, {key for key in said if said[key] not in (0, None)}) == []


@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_each_stage_trains_a_step(tmp_path: Path, name: str, stage: int) -> None:
    start: dict[str, Any] = {
        "detection-from-coco": {"weights": None},
        "detection-from-imagenet": {"model": "lite0-p2-p4.yaml"},
    }.get(name, {})
    trainer = set_up(tmp_path, name, stage=stage, nbs=1, batch=2, enlarge=False, **start)
    before = [each.detach().clone() for each in trainer.model.parameters()]

    def stop(each: Any) -> None:
        each.stop = each.steps > 1  # at the first one weights do not move yet: the warm-up begins with a rate of 0

    trainer.add_callback("on_train_batch_end", stop)
    trainer._do_train()
    assert trainer.steps == 2
    after = list(trainer.model.parameters())
    assert any(not (a == b).all() for a, b in zip(before, after, strict=True)), "nothing was learned"


def test_small_objects_get_pixels_and_every_direction(tmp_path: Path) -> None:
    recipe = load_recipe(RecipeChoice(name="detection-small-objects"))
    arguments = options(recipe, write_dataset(tmp_path, val=False))["arguments"]
    assert (arguments["imgsz"], arguments["degrees"]) == (1024, 180), "small frames are enlarged, too"


def test_three_stages_from_320_to_640_px() -> None:
    recipe = load_recipe(RecipeChoice(name="detection-in-stages"))
    first, second, third = stages_of(recipe.arguments, recipe.min_steps, 127)
    assert [each.arguments["imgsz"] for each in (first, second, third)] == [320, 640, 640]
    assert recipe.imgsz == 640
    assert third.arguments["epochs"] == 13, "8 x 8 and 8 x 16 steps, and 13 x 16 make 400"
    assert [each["imgsz"] for each in recipe.arguments_for(500)["stages"]] == [320, 512, 512]


def test_the_shipped_line_trains_as_it_always_has(tmp_path: Path) -> None:
    """What ultralytics is given for `sperm-detector`, word for word."""
    line = load_line("sperm-detector", HOME / "dags/lines")
    recipe = load_recipe(line.recipe)
    job = make_job(tmp_path)
    made = options(recipe, job.data)
    own = DetectorJob.of(job.model_copy(update={"options": made}))
    (stage,) = stages_of(own.arguments, own.min_steps, 127)
    (data := tmp_path / "here.yaml").write_text(f"path: {tmp_path / 'data'}\ntrain: images/train\n")
    words = ultralytics_arguments(own, stage, "cpu", data, tmp_path / "run", resuming=False)
    given, knobs = apart(words)
    assert knobs.model_dump() == {
        "focal_gamma": 0.0, "clip_norm": 10.0, "ema": 0.9999, "ema_tau": 2000.0, "repeat_threshold": 0.0,
        "balanced_batches": False, "class_weights": "none", "class_beta": 0.999, "copy_paste_classes": "all",
        "microscope": None, "iou_loss": "ciou", "attention": "none", "teacher": None, "distill_classes": 1.0,
        "distill_boxes": 1.0, "distill_features": 0.0, "distill_temperature": 1.0, "denoiser": None,
        "average_last": 0, "members": 1, "prune": 0.0, "fusion": "boxes",
    }  # fmt: skip
    assert {key: given[key] for key in given.keys() - {"data", "save_dir", "model"}} == {
        "amp": False, "batch": 8, "cache": "ram", "close_mosaic": 0, "cos_lr": True, "device": "cpu", "epochs": 25,
        "fliplr": 0.5, "flipud": 0.5, "hsv_h": 0.015, "hsv_s": 0.5, "hsv_v": 0.4, "imgsz": 64, "iou": 0.6, "lr0": 0.004,
        "lrf": 0.01, "max_det": 500, "mode": "train", "mosaic": 0.0, "nbs": 8, "optimizer": "AdamW", "patience": 0,
        "rect": True, "save": True, "scale": 0.3, "seed": 1, "task": "detect", "translate": 0.1, "val": True,
        "warmup_epochs": 1, "workers": 2,
    }  # fmt: skip
