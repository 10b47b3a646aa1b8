"""What a recipe may say beside ultralytics' own values: augmentation, stages; and what is refused with its reason."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tasks.cli.output import parse_changes
from tasks.config import HOME, RecipeChoice, load_line
from tasks.errors import ConfigError
from tasks.kinds.detection.allowed import GONE, STAGE
from tasks.kinds.detection.augmentation import AUGMENTATIONS
from tasks.kinds.detection.recipe import DetectionRecipe, load_recipe
from tasks.training.ultralytics_arguments import argument_defaults
from tasks.training.ultralytics_knobs import CHECKS, Knobs


def scratch(**changes: Any) -> DetectionRecipe:
    return load_recipe(RecipeChoice(name="detection-from-scratch", **changes))


def faults(**changes: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        scratch(**changes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"optimizer": "auto", "lr0": 0.1}, "lr0: 0.1 has no effect: optimizer auto chooses it itself"),
        ({"optimizer": "auto", "momentum": 0.9}, "momentum: 0.9 has no effect: optimizer auto"),
        ({"warmup_momentum": 0.5}, "warmup_momentum: 0.5 has no effect: ultralytics warms up the momentum of SGD"),
        ({"warmup_bias_lr": 0.5, "warmup_epochs": 0}, "warmup_bias_lr: 0.5 has no effect: warmup_epochs is 0"),
        ({"mosaic": 0.5}, "mosaic: 0.5 has no effect: rect: true trains on whole frames alone"),
        ({"mixup": 0.5, "rect": True}, "mixup: 0.5 has no effect: rect: true"),
        ({"close_mosaic": 5}, "close_mosaic: 5 has no effect: mosaic, mixup, cutmix and copy_paste are 0"),
        ({"ema": 0, "ema_tau": 100}, "ema_tau: 100 has no effect: ema is 0"),
        ({"amp": "bf16", "device": "cpu"}, "amp: bf16 has no effect: ultralytics computes in half precision on a GPU"),
        ({"cls_remap": False}, "cls_remap: False has no effect: no weights are loaded"),
        ({"stages": [{"epochs": 2}, {"mosaic": 1}]}, "stage 2: mosaic: 1 has no effect: rect: true"),
        ({"mixup": 1, "stages": [{"rect": False}, {"epochs": 1}]}, "stage 2: mixup: 1 has no effect: rect: true"),
        ({"dropout": 0.3}, "dropout: cannot be set, no layer of a detector drops anything out"),
    ],
)
def test_what_has_no_effect_is_refused_with_the_reason(changes: dict[str, Any], fault: str) -> None:
    assert fault in faults(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "auto"}, {"warmup_epochs": 0}, {"mosaic": 0.5, "rect": False}, {"mosaic": 0}, {"close_mosaic": 0},
        {"warmup_momentum": 0.5, "optimizer": "SGD"}, {"copy_paste": 0.3, "close_mosaic": 3}, {"ema": 0},
        {"amp": "fp32", "device": "cpu"}, {"stages": [{"mosaic": 1, "rect": False}, {"mosaic": 0}]},
    ],
)  # fmt: skip
def test_what_a_recipes_file_says_beside_it_is_held_against_nobody(changes: dict[str, Any]) -> None:
    scratch(**changes)


def test_a_recipes_mosaic_is_not_lost_by_whole_frames() -> None:
    with pytest.raises(ConfigError, match=r"mosaic: 0\.5 has no effect: rect: true"):
        load_recipe(RecipeChoice(name="detection-from-coco", rect=True))
    load_recipe(RecipeChoice(name="detection-from-coco", rect=True, mosaic=0))


@pytest.mark.parametrize("key", sorted(GONE))
def test_names_out_of_guides_are_answered(key: str) -> None:
    assert f"{key}: cannot be set, {GONE[key]}; found 1" in faults(**{key: 1})
    assert key not in argument_defaults(), "ultralytics has it again: think about it"


@pytest.mark.parametrize(
    ("key", "bad", "expected"),
    [("focal_gamma", -1, "a number from 0 to 10"), ("clip_norm", "much", "a number from 0 to 1000"),
     ("ema", 1, "a number from 0 to 0.99999"), ("ema_tau", 0, "a number from 1 to 1e+06"),
     ("copy_paste", 2, "a number from 0 to 1"), ("freeze", "neck", "a list of layers, backbone or all-but-head")],
)  # fmt: skip
def test_values_of_ours_are_checked(key: str, bad: Any, expected: str) -> None:
    assert f"{key}: expected " in (said := faults(**{key: bad})) and expected in said


def test_each_value_of_ours_is_checked_and_has_a_default_that_passes() -> None:
    assert CHECKS.keys() == Knobs.model_fields.keys()
    for key, default in Knobs().model_dump().items():
        assert CHECKS[key](default) == default


def test_augmentation_in_a_word() -> None:
    assert scratch(augmentation="medium").arguments == {
        **scratch().arguments, **AUGMENTATIONS["medium"],
    }, "what detection-from-scratch ships"  # fmt: skip
    heavy = scratch(augmentation="Heavy", degrees=10).arguments
    assert (heavy["degrees"], heavy["mosaic"], heavy["rect"]) == (10, 0.5, False), "what is said by name wins"
    assert "augmentation" not in heavy
    assert "augmentation: expected one of light, medium, heavy, found 'much'" in faults(augmentation="much")


@pytest.mark.parametrize("word", AUGMENTATIONS)
def test_each_word_is_of_values_that_exist(word: str) -> None:
    assert AUGMENTATIONS[word].keys() <= STAGE.keys()
    assert scratch(augmentation=word).arguments.items() >= AUGMENTATIONS[word].items()
    assert scratch(stages=[{"augmentation": word}]).arguments["stages"] == [dict(AUGMENTATIONS[word])]


def test_all_faults_of_all_stages_at_once() -> None:
    said = faults(stages=[{"epochs": 0, "lr": 1}, 3, {}, {"imgsz": "big", "patience": 3, "augmentation": "some"}])
    for part in (
        "stage 1: epochs: expected a whole number from 1 to 10000, found 0",
        "stage 1: lr: cannot be set, say `lr0`",
        "stage 2: expected values by name, such as {epochs: 5, imgsz: 320}, found 3",
        "stage 3: expected values by name",
        "stage 4: imgsz: expected a whole number",
        "stage 4: patience: cannot be set, it holds for the whole training: say it beside `stages`",
        "stage 4: augmentation: expected one of light, medium, heavy, found 'some'",
    ):
        assert part in said


@pytest.mark.parametrize("stages", [[], 3, "head", [{"epochs": 1}] * 11, {"epochs": 1}])
def test_stages_are_a_list_of_one_to_ten(stages: Any) -> None:
    assert "stages: expected a list of 1 to 10 stages, found" in faults(stages=stages)


def test_stages_contradict() -> None:
    two = [{"epochs": 1}, {"epochs": 1, "batch": -1}]
    said = faults(stages=two, device="0,1", time=1.0)
    assert "batch: must be a fixed number" in said
    assert "time: cannot bound a training of stages" in said
    assert "stages: are trained on one device, found 0,1" in said


def test_they_can_be_typed() -> None:
    typed = parse_changes(["stages=[{epochs: 2, imgsz: 320, freeze: backbone}, {epochs: 3, lr0: 1e-3}]", "ema=0.99"])
    line = load_line("sperm-detector", HOME / "dags/lines").with_changes(typed)
    recipe = load_recipe(line.recipe)
    assert recipe.arguments["stages"] == [
        {"epochs": 2, "imgsz": 320, "freeze": "backbone"}, {"epochs": 3, "lr0": 0.001},
    ]  # fmt: skip
    assert (recipe.arguments["ema"], recipe.imgsz) == (0.99, 704)
    assert load_recipe(recipe_again(recipe)).fingerprint() == recipe.fingerprint()


def test_the_stages_that_the_docs_show_are_a_recipe() -> None:
    shown = (HOME / "docs/detectors.md").read_text().split("```yaml")[1].split("```")[0]
    recipe = load_recipe(RecipeChoice.model_validate(yaml.safe_load(shown)["recipe"]))
    assert [stage["epochs"] for stage in recipe.arguments["stages"]] == [5, 20, 5]


def recipe_again(recipe: DetectionRecipe) -> RecipeChoice:
    """The choice that a recipe came from, through JSON as a DAG run keeps it."""
    return RecipeChoice.model_validate_json(
        RecipeChoice(name=recipe.name, seed=recipe.seed, **recipe.arguments).model_dump_json(exclude_none=True)
    )
