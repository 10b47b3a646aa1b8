"""Recipes are checked without ultralytics, all faults at once, and agree with ultralytics' own rules."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tasks.config import RecipeChoice
from tasks.errors import ConfigError
from tasks.kinds.detection.allowed import OWNED
from tasks.kinds.detection.recipe import OURS, load_recipe, recipe_names
from tasks.training.ultralytics_allowed import ALLOWED
from tasks.training.ultralytics_arguments import argument_defaults, schedule
from tasks.training.ultralytics_stages import spelt_out


def scratch(**changes: Any) -> RecipeChoice:
    return RecipeChoice(name="detection-from-scratch", **changes)


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_are_valid(name: str) -> None:
    recipe = load_recipe(RecipeChoice(name=name))
    assert recipe.description
    assert recipe.min_steps > 0


def test_a_line_changes_values() -> None:
    recipe = load_recipe(scratch(imgsz=320, lr0="2e-3", conf=0.5, min_steps=10, seed=7))
    assert (recipe.imgsz, recipe.arguments["lr0"], recipe.predict.conf, recipe.seed) == (320, 0.002, 0.5, 7)
    assert "conf" not in recipe.arguments


def test_what_is_said_by_name_holds_in_every_stage_of_a_recipes_file() -> None:
    shipped = load_recipe(RecipeChoice(name="detection-in-stages"))
    changed = load_recipe(RecipeChoice(name="detection-in-stages", lr0=0.01, epochs=1, augmentation="light"))
    assert [stage["imgsz"] for stage in spelt_out(changed.arguments)] == [320, 640, 640]
    for key, value in (("lr0", 0.01), ("epochs", 1), ("hsv_v", 0.2)):
        assert {stage[key] for stage in spelt_out(changed.arguments)} == {value}
    assert len({stage["lr0"] for stage in spelt_out(shipped.arguments)}) == 2
    own = load_recipe(RecipeChoice(name="detection-in-stages", lr0=0.01, stages=[{"epochs": 3}, {"lr0": 0.02}]))
    assert [stage["lr0"] for stage in spelt_out(own.arguments)] == [0.01, 0.02]
    every = load_recipe(RecipeChoice(name="detection-in-stages", epochs=2, imgsz=704, lr0=0.01, batch=4, nbs=4,
                                     augmentation="heavy"))  # fmt: skip
    assert [stage["imgsz"] for stage in spelt_out(every.arguments)] == [704] * 3


def test_how_a_model_predicts_is_part_of_the_recipe() -> None:
    recipe = load_recipe(scratch(tta=True, slice_px=320, slice_overlap=0.3))
    assert (recipe.predict.tta, recipe.predict.slice_px, recipe.predict.slice_overlap) == (True, 320, 0.3)
    plain = load_recipe(scratch())
    assert (plain.predict.tta, plain.predict.slice_px) == (False, 0)
    assert recipe.arguments == plain.arguments, "the training itself must not change"
    assert len({plain.fingerprint(), recipe.fingerprint(), load_recipe(scratch(tta=True)).fingerprint()}) == 3


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"tta": "yes"}, "tta: expected true or false, found 'yes'"),
        ({"tta": 1}, "tta: expected true or false, found 1"),
        ({"slice_px": 20}, "slice_px: expected 0 (no tiles) or at least 64 pixels, found 20"),
        ({"slice_px": -64}, "slice_px: expected a whole number from 0 to 8192, found -64"),
        ({"slice_px": True}, "slice_px: expected a whole number from 0 to 8192, found True"),
        ({"slice_px": 320.5}, "slice_px: expected a whole number from 0 to 8192, found 320.5"),
        ({"slice_overlap": 1}, "slice_overlap: expected a number from 0 to 0.9, found 1"),
        ({"slice_overlap": "much"}, "slice_overlap: expected a number from 0 to 0.9, found 'much'"),
        ({"slices": 3}, "slices: no such argument"),
    ],
)
def test_predict_options_are_checked(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(scratch(**changes))
    assert fault in str(caught.value)


@pytest.mark.parametrize(("longest_px", "imgsz"), [(480, 480), (470, 480), (698, 704), (1920, 704), (0, 704)])
def test_small_frames_are_not_enlarged(longest_px: int, imgsz: int) -> None:
    assert load_recipe(scratch(imgsz=704)).arguments_for(longest_px)["imgsz"] == imgsz
    assert load_recipe(scratch(imgsz=704, enlarge=True)).arguments_for(longest_px)["imgsz"] == 704


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(scratch(epoch=3, device="gpu", batch="many", flipud=2, cos_lr="yes", min_steps=-1, model="p5.yaml"))
    text = str(caught.value)
    for part in (
        "epoch: no such argument (did you mean epochs?)",
        "device: expected auto, cpu, or GPUs by number ('0' or '0,1'), found 'gpu'",
        "batch: expected a number of frames from 1 to 1024, -1 or a share of the memory, found 'many'",
        "flipud: expected a number from 0 to 1, found 2",
        "cos_lr: expected true or false, found 'yes'",
        "min_steps: expected a whole number from 0 to 10000000, found -1",
        "model: expected the name of an architecture",
        "found 'p5.yaml'",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"time": 1.0}, "time: cannot bound"),
        ({"batch": -1}, "batch: must be a fixed number"),
        ({"model": None}, "model: needs an architecture"),
        ({"kind": "classification"}, "kind: expected one of detection"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        load_recipe(scratch(**changes))


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"did you mean detection-from-scratch.*detection-from-coco"):
        load_recipe(RecipeChoice(name="detection-from-scrach"))


def test_every_argument_we_own_exists_and_what_is_not_allowed_is_refused_with_the_reason() -> None:
    defaults = argument_defaults()
    assert OWNED.keys() <= defaults.keys() | {"save_dir"}
    assert not OWNED.keys() & ALLOWED.keys()
    refused = defaults.keys() - ALLOWED.keys() - OURS - {"name", "seed"}  # these are the choice's own
    with pytest.raises(ConfigError) as caught:
        load_recipe(scratch(**dict.fromkeys(refused, "x")))
    for key in refused:
        assert f"{key}: cannot be set, {OWNED.get(key, 'it has no part in training a detector')}; found 'x'" in str(
            caught.value
        )


@pytest.mark.parametrize(
    "weights", ["/x/yolo11n.pt", "../yolo11n.pt", "sub/a.pt", "https://x/a.pt", "~/a.pt", ".a.pt", "a.yaml", "a\x00.pt",
                "s3://lake/a.pt", "A" * 64, "a" * 63, 7, True, ["a.pt"]],
)  # fmt: skip
def test_weights_are_an_oid_or_a_bare_name(weights: Any) -> None:
    for good in ("yolo11n.pt", "a" * 64):
        assert load_recipe(RecipeChoice(name="detection-from-coco", weights=good)).weights == good
    with pytest.raises(ConfigError, match="weights: expected the oid of a blob, or the bare name") as caught:
        load_recipe(RecipeChoice(name="detection-from-coco", weights=weights))
    assert str(caught.value).isprintable()


def test_keys_that_would_move_a_cursor_are_shown_as_they_are_written() -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(scratch(**{"a\x1b[2J": "b\x1b[2J", "k" * 5000: 1}))
    assert str(caught.value).isprintable() and len(str(caught.value)) < 2000


def test_the_fingerprint_follows_the_values_not_the_words() -> None:
    plain = load_recipe(scratch()).fingerprint()
    assert plain == load_recipe(scratch(imgsz=704)).fingerprint()
    assert plain == load_recipe(scratch(description="another")).fingerprint()
    assert plain != load_recipe(scratch(imgsz=640)).fingerprint()
    assert plain != load_recipe(scratch(seed=1)).fingerprint()


@pytest.mark.parametrize(
    ("images", "arguments", "min_steps", "epochs", "steps"),
    [
        (127, {"batch": 8, "nbs": 8, "epochs": 10}, 400, 25, 16),  # raised: 25 x 16 = 400
        (127, {"batch": 8, "nbs": 8, "epochs": 40}, 400, 40, 16),  # enough already
        (127, {"batch": 8, "nbs": 64, "epochs": 10}, 400, 200, 2),  # eight batches to a step
        (3, {"batch": 8, "nbs": 8, "epochs": 1}, 5, 5, 1),
        (100, {"batch": 10, "nbs": 10, "epochs": 1, "fraction": 0.5}, 10, 2, 5),
    ],
)
def test_epochs_are_raised_until_there_are_steps_enough(
    images: int, arguments: dict[str, Any], min_steps: int, epochs: int, steps: int
) -> None:
    plan = schedule(arguments, min_steps, images)
    assert (plan.epochs, plan.steps_per_epoch) == (epochs, steps)


def test_no_early_stop_before_the_least_number_of_steps() -> None:
    assert schedule({"batch": 8, "nbs": 8, "epochs": 90, "patience": 5}, 400, 127).patience == 25
    assert schedule({"batch": 8, "nbs": 8, "epochs": 90, "patience": 0}, 400, 127).patience == 0


def test_checking_a_recipe_imports_neither_torch_nor_ultralytics() -> None:
    code = (
        "import sys; from tasks.kinds.detection.recipe import load_recipe; from tasks.config import RecipeChoice;"
        "import tasks.training.identity, tasks.training.train;"
        "load_recipe(RecipeChoice(name='detection-from-scratch'));"
        "print([m for m in ('torch', 'ultralytics', 'mlflow', 'cv2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_recipe_may_name_its_devices() -> None:
    for written, meant in ((None, None), ("auto", None), ("cpu", "cpu"), (1, "1"), ([0, 1], "0,1"), ("0, 1", "0,1")):
        assert load_recipe(scratch(device=written)).device == meant
    for wrong in (True, "", "0,", "cuda:0", -1, "../0", [True]):
        with pytest.raises(ConfigError, match="device: expected auto, cpu"):
            load_recipe(scratch(device=wrong))
