"""Recipes: how a segmenter learns. A YAML file in `recipes/`, and over it what the line or one run changes.

    description   one sentence for the trigger form
    kind          segmentation
    weights       what to start from: `efficientnet-lite0` (installed with us, ImageNet), the name of a file in
                  `<state_dir>/weights/` (.pt, .pth, .safetensors: SAM's vision encoder, timm's network, or a segmenter
                  of ours), or the oid of a blob; none: from scratch
    device        cpu, or a GPU by number; none: the next that is free
    min_score     how the finished model predicts: cells that score lower are left out; none: as training chose
    ...           everything that `plan.py` lists

Values of a stage and of the augmentation are nested in a file (`stage1: {learning_rate: 0.001}`), and can be set one by
one: `stage1_learning_rate: 0.001`.

No value is a path or a URL. Checked without importing torch, all faults at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tasks.config import RecipeChoice
from tasks.errors import ConfigError
from tasks.kind import Recipe
from tasks.kinds.segmentation.allowed import ALLOWED, ARGUMENTS, NESTED, OWNED, STAR_NESTED, merged, spelt_out
from tasks.kinds.segmentation.foreign import plan_module
from tasks.kinds.segmentation.plan import PredictOptions, TrainingPlan
from tasks.schemas import Frozen, Oid
from tasks.training import values
from tasks.training.installed import INSTALLED, installed_file

RECIPES = Path(__file__).parent / "recipes"


class SegmentationRecipe(Recipe):
    """A checked recipe. `arguments` are those of a `TrainingPlan`, complete; of another hand's model, of its own."""

    predict: PredictOptions

    WEIGHTS_ADVICE: ClassVar[str] = f"installed with us: {', '.join(INSTALLED)}; SAM's are at its authors'"

    @property
    def plan(self) -> TrainingPlan:
        """The arguments, typed."""
        return TrainingPlan.model_validate(self.arguments)

    @property
    def input_px(self) -> int:
        """As `imgsz`."""
        return int(self.arguments["imgsz"])

    @property
    def predicting(self) -> dict[str, Any]:
        """The options by name."""
        return self.predict.model_dump()

    def plain(self) -> SegmentationRecipe:
        """The same training, of a model that chooses its threshold itself."""
        return self.model_copy(update={"predict": PredictOptions()})

    def installed_weights(self) -> tuple[Path, Oid] | None:
        """Where `weights` names some that are installed with us."""
        return installed_file(self.weights) if self.weights in INSTALLED else None


def recorded(data: Mapping[str, Any]) -> SegmentationRecipe:
    """A recipe as a training's record has it."""
    return SegmentationRecipe.model_validate(data)


def recipe_names() -> tuple[str, ...]:
    """The shipped recipes, sorted."""
    return values.recipe_names(RECIPES)


def load_recipe(choice: RecipeChoice) -> SegmentationRecipe:
    """The recipe that a line names, with the line's changes.

    Raises:
        ConfigError: No such recipe; or naming every key that cannot be set and every bad value at once.
    """
    shipped = spelt_out(values.recipe_values(RECIPES, RecipeChoice(name=choice.name)))
    asked = merged(shipped, spelt_out(choice.changes))
    if theirs := plan_module(asked.get("model")):
        return _of_another_hand(choice, asked, theirs)
    checked, faults = values.checked_values(asked, ALLOWED, OWNED.get)
    plan = TrainingPlan.model_validate({key: value for key, value in checked.items() if key in ARGUMENTS})
    own = STAR_NESTED if plan.model == "star-convex" else NESTED
    faults += _contradictions(plan, checked.get("weights")) + _ignored(plan, spelt_out(choice.changes), own)
    if faults:
        nested = "; ".join(f"in {key}: {', '.join(sorted(checks))}" for key, checks in own.items())
        settable = sorted(ALLOWED.keys() - {"description", "kind"} - (NESTED.keys() - own.keys()))
        raise ConfigError(
            f"recipe {choice.name!r}: {'; '.join(faults)}", fix=f"what can be set: {', '.join(settable)}; {nested}"
        )
    return _recipe(choice, checked, plan)


def _recipe(choice: RecipeChoice, checked: Mapping[str, Any], plan: Frozen) -> SegmentationRecipe:
    return SegmentationRecipe(
        name=choice.name,
        seed=choice.seed,
        description=str(checked.get("description", "")),
        kind="segmentation",
        weights=checked.get("weights"),
        device=checked.get("device"),
        predict=PredictOptions(min_score=checked.get("min_score", 0.0)),
        arguments=plan.model_dump(mode="json"),
    )


def _of_another_hand(choice: RecipeChoice, asked: Mapping[str, Any], theirs: Any) -> SegmentationRecipe:
    """A recipe of YOLO-seg or cellpose, see `foreign.py`; raises as above."""
    checked, faults = values.checked_values(asked, theirs.CHECKS, theirs.refused)
    if not faults:
        plan, faults = theirs.plan_of(checked)
    if faults:
        settable = ", ".join(sorted(theirs.CHECKS.keys() - {"description", "kind"}))
        raise ConfigError(f"recipe {choice.name!r}: {'; '.join(faults)}", fix=f"what can be set: {settable}")
    return _recipe(choice, checked, plan)


def _ignored(plan: TrainingPlan, changes: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What a line or a run sets that this model has no part for: it would be taken, and nothing would come of it."""
    found = []
    for stage in NESTED.keys() & changes.keys():
        given = changes[stage] if isinstance(changes[stage], dict) else {}
        unknown = sorted((given.keys() & NESTED[stage].keys()) - own.get(stage, {}).keys())
        if stage not in own:
            found.append(f"{stage}: a {plan.model} model has one stage, stage1")
        elif unknown:
            found.append(f"{stage}: {', '.join(unknown)}: a {plan.model} model has no such part of its loss")
    return sorted(found)


def _contradictions(plan: TrainingPlan, weights: str | None) -> list[str]:
    faults = []
    if weights in INSTALLED and INSTALLED[weights].model != plan.encoder:
        faults.append(f"weights: {weights} are of {INSTALLED[weights].model}, and the encoder is {plan.encoder}")
    if plan.encoder == "sam-vit" and weights is None:
        faults.append("encoder: sam-vit learns nothing from scratch, and `weights` names none: put SAM's file there")
    if not plan.stage1.total_epochs and (plan.model == "star-convex" or weights is None):
        faults.append(
            "stage1: total_epochs: 0 leaves nothing that finds cells; expected 1 or more, or a segmenter's weights"
        )
    if not plan.stage1.total_epochs and not plan.stage2.total_epochs:
        faults.append("stage2: total_epochs: 0, as in stage1: nothing would be trained")
    if plan.model == "two-stage" and not plan.stage2.total_epochs and plan.stage1.type != "all_backbones":
        faults.append(f"stage2: total_epochs: 0 and stage1's type {plan.stage1.type} leave the mask decoder untrained")
    return faults
