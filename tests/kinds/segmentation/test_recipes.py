"""Recipes are checked without torch, all faults at once; every value of a plan can be set."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tasks.config import RecipeChoice
from tasks.errors import ConfigError
from tasks.kinds.segmentation.allowed import ALLOWED, ARGUMENTS, NESTED
from tasks.kinds.segmentation.plan import InputPlan, TrainingPlan
from tasks.kinds.segmentation.recipe import load_recipe, recipe_names, recorded

RECIPES = ("sam-encoder", "star-convex", "two-stage", "two-stage-tiny")


def tuned(**changes: Any) -> Any:
    return load_recipe(RecipeChoice(name="two-stage", **changes))


def test_our_recipes_are_shipped() -> None:
    assert set(RECIPES) <= set(recipe_names())


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_are_valid(name: str) -> None:
    recipe = load_recipe(RecipeChoice(name=name))
    assert recipe.description and recipe.kind == "segmentation"
    assert recipe.input_px == recipe.plan.imgsz
    assert recorded(recipe.model_dump(mode="json")) == recipe


def test_every_value_of_a_plan_can_be_set_and_is_checked() -> None:
    assert TrainingPlan.model_fields.keys() <= ARGUMENTS.keys()
    for key, value in TrainingPlan().model_dump().items():
        assert ARGUMENTS[key](value) == value, key
    for key, checks in NESTED.items():
        assert checks.keys() == getattr(TrainingPlan(), key).model_dump().keys()
    assert {"description", "kind", "weights", "device", "min_score"} <= ALLOWED.keys()


def test_nested_values_change_one_by_one() -> None:
    shipped = tuned().plan
    plan = tuned(stage1={"learning_rate": "1e-4"}, stage2_focal_gamma=3, augmentation=False).plan
    assert plan.stage1 == shipped.stage1.model_copy(update={"learning_rate": 0.0001})
    assert plan.stage2 == shipped.stage2.model_copy(update={"focal_gamma": 3})
    assert plan.augmentation == shipped.augmentation.model_copy(update={"on": False})
    assert tuned(focal_gamma=1).plan.stage2.focal_gamma == 1
    assert tuned(stage1_type="image_encoder", stage1={"patience": 3}).plan.stage1.type == "image_encoder"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"model": "unet"}, "model: expected one of two-stage, star-convex"),
        ({"encoder": "resnet18"}, "encoder: expected one of tf_efficientnet_lite0, sam-vit, tiny"),
        ({"encoder": "tiny"}, "weights: efficientnet-lite0 are of tf_efficientnet_lite0, and the encoder is tiny"),
        ({"encoder": "sam-vit", "weights": None}, "`weights` names none"),
        ({"weights": "/etc/passwd"}, "weights: expected the oid of a blob, or the bare name of a .pt, .pth or"),
        ({"device": "0,1"}, "device: expected one device: a segmenter is trained on one"),
        ({"imgsz": 100}, "imgsz: expected a multiple of 32, found 100"),
        ({"percentiles": [99, 1]}, "percentiles: expected the low percentile below the high one"),
        ({"percentiles": 3}, "percentiles: expected two percentiles"),
        ({"stage1": {"type": "finder", "epochs": 3}}, "stage1: type: expected one of cellfinder, image_encoder"),
        ({"stage1": {"type": "finder", "epochs": 3}}, "epochs: no such argument (did you mean total_epochs?)"),
        ({"stage1.total_epochs": 3}, "stage1.total_epochs: no such argument (say stage1={total_epochs: ...}); found 3"),
        ({"stage2": 3}, "stage2: expected values by name, found 3"),
        ({"stage2_jitter": 2}, "stage2: jitter: expected a number from 0 to 0.5, found 2"),
        ({"stage1_total_epochs": 0, "stage2_total_epochs": 0}, "nothing would be trained"),
        ({"stage1_type": "image_encoder", "stage2_total_epochs": 0}, "leave the mask decoder untrained"),
        ({"epochs": 3}, "epochs: cannot be set, say `stage1: {total_epochs: ...}`"),
        ({"gamma": 0}, "gamma: expected a number from 0.05 to 20"),
        ({"kind": "detection"}, "kind: expected one of segmentation"),
        ({"min_score": 2}, "min_score: expected a number from 0 to 1"),
    ],
)
def test_values_are_checked(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tuned(**changes)
    assert fault in str(caught.value)


def test_a_star_convex_model_refuses_what_it_has_no_part_for() -> None:
    def star(name: str = "star-convex", **changes: Any) -> Any:
        return load_recipe(RecipeChoice(name=name, **changes))

    with pytest.raises(ConfigError) as caught:
        star(stage1={"giou_weight": 1, "ce_weight": 2}, stage1_dense_weight=0, focal_gamma=3, stage2={"jitter": 0})
    message = str(caught.value)
    assert "stage1: dense_weight, giou_weight: a star-convex model has no such part of its loss" in message
    assert "stage2: a star-convex model has one stage, stage1" in message
    assert "in stage1: ce_weight, l1_weight, learning_rate, patience, total_epochs, type;" in message
    assert "in stage2" not in message and "stage1, stage2" not in message
    assert star(stage1={"ce_weight": 2, "type": "cellfinder"}, augmentation=False).plan.stage1.ce_weight == 2
    assert star("two-stage", model="star-convex").plan.model == "star-convex", (
        "what its file says of stage 2 is no wish"
    )


def test_all_faults_come_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        tuned(imgsz=1, batch_size=0, stage1={"patience": -1, "l1_weight": "x"})
    message = str(caught.value)
    assert all(name in message for name in ("imgsz:", "batch_size:", "patience:", "l1_weight:"))


def test_the_threshold_changes_no_training() -> None:
    recipe = tuned(min_score=0.3)
    assert recipe.predicting == {"min_score": 0.3} and recipe.fingerprint() != tuned().fingerprint()
    assert recipe.plain().fingerprint() == tuned().fingerprint()


def test_a_plan_says_how_pictures_are_prepared() -> None:
    plan = tuned(gamma=0.5, stain_transform="macenko", imgsz=128, scale=0.5).plan
    wanted = InputPlan(channels={"nucleus": 2}, gamma=0.5, stain="macenko", imgsz=128, scale=0.5)
    assert plan.input_plan({"nucleus": 2}) == wanted


def test_recipes_need_no_torch() -> None:
    code = (
        "import sys; from tasks.config import RecipeChoice; from tasks.kinds.segmentation.recipe import load_recipe;"
        "load_recipe(RecipeChoice(name='two-stage')); assert 'torch' not in sys.modules and 'cv2' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
