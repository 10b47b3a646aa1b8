"""Recipes are checked without torch, all faults at once; every value of a plan can be set."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.config import RecipeChoice, parse_line
from tasks.errors import ConfigError, IntegrityError
from tasks.kinds.classification import recipe as recipe_module
from tasks.kinds.classification.allowed import ALLOWED, ARGUMENTS, MODELS
from tasks.kinds.classification.plan import TrainingPlan
from tasks.kinds.classification.recipe import load_recipe, recipe_names, recorded
from tasks.training import installed

RECIPES = (
    "centred-encoders", "centred-features", "fine-tune", "from-scratch", "frozen-features", "improved-cnn", "small-cnn",
    "texture-features",
)  # fmt: skip


def tuned(**changes: Any) -> RecipeChoice:
    return RecipeChoice(name="fine-tune", **changes)


def test_the_shipped_recipes() -> None:
    assert recipe_names() == RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_are_valid(name: str) -> None:
    recipe = load_recipe(RecipeChoice(name=name))
    assert recipe.description and recipe.kind == "classification"
    assert recipe.input_px == recipe.plan.imgsz
    assert recorded(recipe.model_dump(mode="json")) == recipe


def test_every_value_of_a_plan_can_be_set_and_is_checked() -> None:
    assert ARGUMENTS.keys() == TrainingPlan.model_fields.keys()
    defaults = TrainingPlan().model_dump(mode="json")
    for key, value in defaults.items():
        assert ARGUMENTS[key](value) == value, key
    assert ALLOWED.keys() - ARGUMENTS.keys() == {"description", "kind", "weights", "device", "tta"}


def test_a_line_and_a_run_change_values() -> None:
    line = parse_line(
        {"line": "heads", "kind": "classification", "classes": ["a", "b"], "recipe": {"name": "fine-tune", "lr": 0.1},
         "gates": [{"metric": "accuracy", "at_least": 0.5}]}, "test",
    )  # fmt: skip
    recipe = load_recipe(line.with_changes({"epochs": 3, "lr": "2e-4", "tta": False, "stages": []}).recipe)
    assert (recipe.plan.epochs, recipe.plan.lr, recipe.predict.tta) == (3, 0.0002, False)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"model": "resnet19"}, "model: expected one of small-cnn, improved-cnn, resnet18"),
        ({"model": "../x"}, "model: expected one of"),
        ({"weights": "/etc/passwd"}, "weights: expected the oid of a blob, or the bare name of a .pt, .pth or"),
        ({"weights": "efficientnet-lite1"}, "or one of efficientnet-lite0, efficientnet-lite2"),
        ({"device": "0,1"}, "device: expected one device: a classifier is trained on one, found '0,1'"),
        ({"device": "gpu"}, "device: expected auto, cpu"),
        ({"imgsz": 20}, "imgsz: expected a whole number from 32 to 1024, found 20"),
        ({"tta": 1}, "tta: expected true or false, found 1"),
        ({"loss": "hinge"}, "loss: expected one of cross-entropy, focal, found 'hinge'"),
        ({"epoch": 3}, "epoch: no such argument (did you mean epochs?)"),
        ({"multi_label": True}, "multi_label: cannot be set, it belongs to the line"),
        ({"stages": [{"train": "tail", "epochs": 1, "lr": 0.1}]}, "stages: stage 1: train: expected one of head, all"),
        ({"stages": [{"train": "head", "epoch": 1}]}, "stage 1: epoch: no such argument (did you mean epochs?)"),
        ({"stages": [{"train": "head", "epochs": 1}]}, "stage 1: lr: is missing"),
        (
            {"more_encoders": "efficientnet-lite2"},
            "more_encoders: expected a list of 8 at most, found 'efficientnet-lite2'",
        ),
        ({"more_encoders": [3]}, "more_encoders: number 1: expected {weights, contrast}, found 3"),
        (
            {"more_encoders": ["/etc/passwd"]},
            "number 1: weights: expected one of efficientnet-lite0, efficientnet-lite2",
        ),
        (
            {"more_encoders": [{"weights": "efficientnet-lite2", "contrast": "more"}]},
            "contrast: expected one of as-is, alike",
        ),
        ({"stages": 3}, "stages: expected a list of 10 stages at most, found 3"),
        ({"kind": "detection"}, "kind: expected one of classification"),
    ],
)
def test_values_are_checked(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(tuned(**changes))
    assert fault in str(caught.value)


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(tuned(lr="fast", batch=0, flip="yes", mixup=-1, dropuot=0.5, fit="squeeze"))
    for part in (
        "lr: expected a number", "batch: expected a whole", "flip: expected true or false", "mixup: expected",
        "dropuot: no such argument (did you mean dropout or drop_path?)", "fit: expected one of pad, stretch, crop",
    ):  # fmt: skip
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"model": "resnet18"}, "weights: efficientnet-lite0 are of tf_efficientnet_lite0, and the model is resnet18"),
        ({"model": "vit_tiny", "weights": None, "imgsz": 100}, "imgsz: vit_tiny_patch16_224 wants a multiple of 16"),
        ({"weights": None, "head": "logistic"}, "head: logistic looks at the features of a trained network"),
        ({"more_encoders": ["efficientnet-lite2"]}, "more_encoders: are for a classical head on frozen features"),
        (
            {"head": "logistic", "calibration": "platt"},
            "calibration: platt is for the scores of an SVM, and the head is",
        ),
        (
            {"head": "svm-rbf", "more_encoders": ["efficientnet-lite0"]},
            "efficientnet-lite0 sees the same pictures (as-is) twice",
        ),
        ({"head": "svm-rbf", "average_views": True, "tta": True}, "tta: `average_views` already looks at a picture"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(tuned(**changes))
    assert fault in str(caught.value)


def test_short_names_of_models_mean_timms() -> None:
    assert load_recipe(tuned(model="vit_tiny", weights=None)).plan.model == "vit_tiny_patch16_224"
    assert load_recipe(tuned(model="EfficientNet_Lite0".lower())).plan.model in MODELS


def test_how_a_model_predicts_changes_the_fingerprint_and_nothing_of_the_training() -> None:
    plain, turned = load_recipe(tuned(tta=False)), load_recipe(tuned(tta=True))
    assert plain.fingerprint() != turned.fingerprint()
    assert plain.fingerprint() == plain.plain().fingerprint() == turned.plain().fingerprint()
    assert turned.predicting == {"tta": True}
    assert load_recipe(tuned(seed=1)).fingerprint() != load_recipe(tuned()).fingerprint()


def test_installed_weights_are_found_and_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe(tuned())
    found = recipe.installed_weights()
    assert found is not None and found[0].is_file()
    assert found[1] == "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    assert load_recipe(tuned(weights="own.safetensors")).installed_weights() is None
    known = installed.INSTALLED["efficientnet-lite0"]
    other = installed.Installed(known.package, known.file, "0" * 64, known.model)
    monkeypatch.setitem(installed.INSTALLED, "efficientnet-lite0", other)
    with pytest.raises(IntegrityError, match="weights 'efficientnet-lite0'"):
        recipe.installed_weights()
    absent = installed.Installed("no_such_package", known.file, known.oid, known.model)
    monkeypatch.setitem(installed.INSTALLED, "efficientnet-lite0", absent)
    with pytest.raises(ConfigError, match="the package that brings them is not installed"):
        recipe.installed_weights()


def test_further_weights_are_verified_before_a_training_and_may_be_named_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {
        "head": "svm-rbf",
        "more_encoders": ["efficientnet-lite2", {"weights": "efficientnet-lite0", "contrast": "alike"}],
    }
    recipe = load_recipe(tuned(**changes))
    assert [(each.weights, each.contrast) for each in recipe.plan.more_encoders] == [
        ("efficientnet-lite2", "as-is"), ("efficientnet-lite0", "alike"),
    ]  # fmt: skip
    assert recipe.installed_weights() == installed.installed_file("efficientnet-lite0")
    known = installed.INSTALLED["efficientnet-lite2"]
    other = installed.Installed(known.package, known.file, "0" * 64, known.model)
    monkeypatch.setitem(installed.INSTALLED, "efficientnet-lite2", other)
    with pytest.raises(IntegrityError, match="weights 'efficientnet-lite2'"):
        recipe.installed_weights()


def test_checking_a_recipe_imports_neither_torch_nor_timm() -> None:
    code = (
        "import sys; from tasks.kinds.classification.recipe import load_recipe; from tasks.config import RecipeChoice;"
        "import tasks.training.identity, tasks.training.train, tasks.kinds.classification.train;"
        "load_recipe(RecipeChoice(name='fine-tune')).installed_weights();"
        "print([m for m in ('torch', 'timm', 'sklearn', 'cv2', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_recipes_lie_beside_the_code() -> None:
    folder = Path(recipe_module.__file__).parent / "recipes"
    assert {path.stem for path in folder.iterdir()} == set(RECIPES)


def test_a_batch_of_one_is_refused_for_a_head_that_normalises_over_it() -> None:
    with pytest.raises(ConfigError, match=r"batch: improved-cnn .*at least 2, found 1"):
        load_recipe(RecipeChoice(name="improved-cnn", batch=1))
    assert load_recipe(RecipeChoice(name="small-cnn", batch=1)).plan.batch == 1
