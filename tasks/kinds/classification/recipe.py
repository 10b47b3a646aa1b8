"""Recipes: how a classifier learns. A YAML file in `recipes/`, and over it what the line or one run changes.

    description   one sentence for the trigger form
    kind          classification
    weights       what to start from: `efficientnet-lite0`, `efficientnet-lite2` (installed with us, ImageNet), the name
                  of a file in `<state_dir>/weights/` (.pt, .pth, .safetensors: of timm's model, or of ours), or the oid
                  of a blob; none: from scratch
    device        cpu, or a GPU by number; none: the next that is free
    tta           how the finished model predicts: it looks at a picture turned and mirrored in all eight ways
    ...           everything that `plan.py` lists

`tta` changes nothing about the training. Yet it is part of the recipe's fingerprint: gates judge a model as it will be
used. Only the training is not done again: the new version takes over the weights (see `tasks/training/train.py`).

No value is a path or a URL. Checked without importing torch, all faults at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tasks.config import RecipeChoice
from tasks.errors import ConfigError
from tasks.kind import Recipe
from tasks.kinds.classification.allowed import ALLOWED, ARGUMENTS, OWNED, PATCH_PX
from tasks.kinds.classification.plan import PredictOptions, TrainingPlan
from tasks.schemas import Oid
from tasks.training import values
from tasks.training.installed import INSTALLED, installed_file

RECIPES = Path(__file__).parent / "recipes"


class ClassificationRecipe(Recipe):
    """A checked recipe. `arguments` are those of a `TrainingPlan`, complete."""

    predict: PredictOptions

    WEIGHTS_ADVICE: ClassVar[str] = f"installed with us: {', '.join(INSTALLED)}"

    @property
    def plan(self) -> TrainingPlan:
        """The arguments, typed."""
        return TrainingPlan.model_validate(self.arguments)

    @property
    def input_px(self) -> int:
        """As `imgsz`."""
        return self.plan.imgsz

    @property
    def predicting(self) -> dict[str, Any]:
        """The options by name."""
        return self.predict.model_dump()

    def plain(self) -> ClassificationRecipe:
        """The same training, of a model that looks at a picture once."""
        return self.model_copy(update={"predict": PredictOptions()})

    def installed_weights(self) -> tuple[Path, Oid] | None:
        """Where `weights` names some that are installed with us; those of `more_encoders` are verified, too."""
        for each in self.plan.more_encoders:
            installed_file(each.weights)
        return installed_file(self.weights) if self.weights in INSTALLED else None


def recorded(data: Mapping[str, Any]) -> ClassificationRecipe:
    """A recipe as a training's record has it."""
    return ClassificationRecipe.model_validate(data)


def recipe_names() -> tuple[str, ...]:
    """The shipped recipes, sorted."""
    return values.recipe_names(RECIPES)


def load_recipe(choice: RecipeChoice) -> ClassificationRecipe:
    """The recipe that a line names, with the line's changes.

    Raises:
        ConfigError: No such recipe; or naming every key that cannot be set and every bad value at once.
    """
    asked = values.recipe_values(RECIPES, choice)
    checked, faults = values.checked_values(asked, ALLOWED, OWNED.get)
    plan = TrainingPlan(**{key: value for key, value in checked.items() if key in ARGUMENTS})
    faults += _contradictions(plan, checked.get("weights"), tta=checked.get("tta", False))
    if faults:
        raise ConfigError(
            f"recipe {choice.name!r}: {'; '.join(faults)}",
            fix=f"what can be set: {', '.join(sorted(ALLOWED.keys() - {'description', 'kind'}))}",
        )
    return ClassificationRecipe(
        name=choice.name,
        seed=choice.seed,
        description=str(checked.get("description", "")),
        kind="classification",
        weights=checked.get("weights"),
        device=checked.get("device"),
        predict=PredictOptions(tta=checked.get("tta", False)),
        arguments=plan.model_dump(mode="json"),
    )


def _contradictions(plan: TrainingPlan, weights: str | None, *, tta: bool) -> list[str]:
    faults = []
    if weights in INSTALLED and INSTALLED[weights].model != plan.model:
        faults.append(f"weights: {weights} are of {INSTALLED[weights].model}, and the model is {plan.model}")
    if plan.model.startswith("vit_") and plan.imgsz % PATCH_PX:
        faults.append(f"imgsz: {plan.model} wants a multiple of {PATCH_PX}, found {plan.imgsz}")
    if plan.head != "network" and weights is None:
        faults.append(f"head: {plan.head} looks at the features of a trained network, and `weights` names none")
    if plan.head != "network" and plan.average_views and tta:
        faults.append("tta: `average_views` already looks at a picture in its symmetries, expected false, found true")
    faults += _of_classical_heads(plan, weights)
    if plan.model == "improved-cnn" and plan.head == "network" and plan.batch == 1:
        faults.append(f"batch: {plan.model} normalises over a batch's pictures and wants at least 2, found 1")
    return faults


def _of_classical_heads(plan: TrainingPlan, weights: str | None) -> list[str]:
    faults = []
    if plan.calibration != "none" and not plan.head.startswith("svm-"):
        faults.append(f"calibration: {plan.calibration} is for the scores of an SVM, and the head is {plan.head}")
    if plan.more_encoders and plan.head == "network":
        faults.append("more_encoders: are for a classical head on frozen features, and the head is network")
    seen = {(weights, "as-is")}
    for each in plan.more_encoders:
        if (each.weights, each.contrast) in seen:
            faults.append(f"more_encoders: {each.weights} sees the same pictures ({each.contrast}) twice")
        seen.add((each.weights, each.contrast))
    return faults
