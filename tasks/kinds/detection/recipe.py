"""Recipes: how a line trains. A YAML file in `recipes/`, and over it what the line or one run changes.

The training arguments of ultralytics that `tasks/training/ultralytics_allowed.py` lists can stand in a recipe, the
values of `ultralytics_knobs.py` that it lacks, and our own keys:

    description   one sentence for the trigger form
    kind          detection
    model         an architecture by name: a file in `architectures/`, or one that ultralytics ships (yolo11n.yaml);
                  or retinanet, a detector with anchors that knows values of its own (`anchored/plan.py`)
    weights       what to start from: the name of a file in `<state_dir>/weights/`, or the oid of a blob; or
                  efficientnet-lite0, installed ImageNet weights, with a model whose backbone they are of
    teacher       a finished detector to learn from, too, named as `weights` are; see `distillation.py`
    denoiser      what every frame goes through: a version ('speckle/1'), or named as `weights` are; see `denoised.py`
    min_steps     optimizer steps that a training takes at least: epochs are raised until it does
    augmentation  light, medium or heavy: short for values of how frames are changed; what is said by name wins
    stages        one after the other, each with what it says otherwise: [{epochs: 5, freeze: backbone}, {epochs: 20}]
    enlarge       false: imgsz is lowered to what the largest frame needs, so that none is blown up; default true
    conf, iou, max_det   how the finished model predicts
    tta           test-time augmentation: true = it looks at mirrored and smaller copies of an image as well
    slice_px, slice_overlap   it looks at overlapping tiles of that side as well, for small objects; 0 = it does not

The last two lines change how a model predicts, and nothing about its training. Yet they are part of the recipe's
fingerprint, so that a change makes another model version: gates judge a model with the options that it will be used
with, latency included, and a champion whose options change behind its back was never judged. Only the training is not
done again: the new version takes over the weights (see `tasks/training/train.py`).

No value is a path or a URL, and no file of another hand is read. Checked without importing ultralytics, all faults
at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from tasks.config import RecipeChoice
from tasks.errors import ConfigError
from tasks.escaping import short_repr
from tasks.kind import Recipe
from tasks.kinds.detection.allowed import ARGUMENTS, augmentation, refused, stages
from tasks.kinds.detection.anchored import plan as anchored
from tasks.kinds.detection.augmentation import in_values
from tasks.kinds.detection.backbone import backbone_of
from tasks.kinds.detection.denoised_layout import DENOISING
from tasks.kinds.detection.effects import of_a_teacher, of_several, without_effect
from tasks.schemas import Frozen, Oid
from tasks.training import values
from tasks.training.installed import INSTALLED, installed_file
from tasks.training.ultralytics_arguments import argument_defaults
from tasks.training.ultralytics_stages import spelt_out
from tasks.training.values import Check, number, one_of, switch, text, whole

RECIPES = Path(__file__).parent / "recipes"
ARCHITECTURES = Path(__file__).parent / "architectures"

STRIDE_PX = 32
"""Image sizes are multiples of this: the coarsest grid of the architectures."""
LEAST_SLICE_PX, MOST_SLICE_PX = 64, 8192
MOST_OVERLAP = 0.9
"""Of tiles: nine tenths take a hundred tiles for the work of one."""


class PredictOptions(Frozen):
    """How a finished detector predicts."""

    conf: float = Field(default=0.25, ge=0, le=1, description="Boxes below this score are left out.")
    iou: float = Field(default=0.7, ge=0, le=1, description="Overlap above which the weaker of two boxes is dropped.")
    max_det: int = Field(default=300, ge=1, description="Boxes per image at most.")
    tta: bool = Field(default=False, description="Look at mirrored and smaller copies of an image as well.")
    slice_px: int = Field(default=0, ge=0, description="Side of the tiles to look at as well; 0 = the image alone.")
    slice_overlap: float = Field(
        default=0.2, ge=0, le=MOST_OVERLAP, description="Share of its side that a tile overlaps."
    )

    def but(self, **given: float | None) -> PredictOptions:
        """The same with what is given instead; None: as it was."""
        return self.model_copy(update={key: value for key, value in given.items() if value is not None})


OURS = {
    "description", "kind", "model", "weights", "min_steps", "enlarge", "device", "augmentation",
    *PredictOptions.model_fields,
}  # fmt: skip
"""Keys that do not go to the trainer as they are."""


class DetectionRecipe(Recipe):
    """A checked recipe. `arguments` holds what differs from ultralytics' defaults, in its own words or in ours."""

    model: str | None
    min_steps: int
    enlarge: bool
    predict: PredictOptions

    WEIGHTS_ADVICE: ClassVar[str] = "COCO weights: https://github.com/ultralytics/assets/releases"

    @property
    def anchored(self) -> bool:
        """Whether its detector has anchors, and is not ultralytics'."""
        return self.model == anchored.MODEL

    def installed_weights(self) -> tuple[Path, Oid] | None:
        """Those of a backbone, which are installed with us."""
        return installed_file(self.weights) if self.weights in INSTALLED else None

    @property
    def input_px(self) -> int:
        """As `imgsz`."""
        return self.imgsz

    @property
    def predicting(self) -> dict[str, Any]:
        """The options by name."""
        return self.predict.model_dump()

    def sources(self) -> tuple[Path, ...]:
        """Its architecture, if that is a file of ours; one known to ultralytics by name is covered by its version."""
        found = find_architecture(self.model) if self.model and not self.anchored else None
        return (*([found] if isinstance(found, Path) else []), *([DENOISING] if self.denoiser() else []))

    @property
    def imgsz(self) -> int:
        """Side, in pixels, that images are scaled to; of the last stage, as the finished model will look at them."""
        return _imgsz(spelt_out(self.arguments)[-1])

    def arguments_for(self, longest_px: int) -> dict[str, Any]:
        """The arguments for frames whose longest side has so many pixels, at most."""
        if self.enlarge or longest_px <= 0:
            return self.arguments
        side = math.ceil(longest_px / STRIDE_PX) * STRIDE_PX
        lowered = dict(self.arguments)
        if longest_px < _imgsz(lowered):
            lowered["imgsz"] = side
        if "stages" in lowered:
            lowered["stages"] = [
                {**stage, "imgsz": side} if longest_px < stage.get("imgsz", 0) else stage for stage in lowered["stages"]
            ]
        return lowered

    def value(self, key: str) -> Any:
        """An ultralytics argument: the recipe's value, else ultralytics' default."""
        return self.arguments.get(key, argument_defaults()[key])

    def plain(self) -> DetectionRecipe:
        """The same training, of a model that looks at an image once."""
        once = {name: PredictOptions.model_fields[name].default for name in ("tta", "slice_px", "slice_overlap")}
        return self.model_copy(update={"predict": self.predict.model_copy(update=once)})


def _imgsz(arguments: Mapping[str, Any]) -> int:
    return int(arguments.get("imgsz", argument_defaults()["imgsz"]))


def recorded(data: Mapping[str, Any]) -> DetectionRecipe:
    """A recipe as a training's record has it."""
    return DetectionRecipe.model_validate(data)


def recipe_names() -> tuple[str, ...]:
    """The shipped recipes, sorted."""
    return values.recipe_names(RECIPES)


def load_recipe(choice: RecipeChoice) -> DetectionRecipe:
    """The recipe that a line names, with the line's changes.

    Raises:
        ConfigError: No such recipe; or naming every key that cannot be set and every bad value at once.
    """
    asked = values.recipe_values(RECIPES, choice)
    known = _ANCHORED if asked.get("model") == anchored.MODEL else _CHECKS
    if known is _ANCHORED:
        checked, faults = values.checked_values(asked, known)
        faults += anchored.contradictions(checked)
    else:
        asked = _with_changes(values.recipe_values(RECIPES, RecipeChoice(name=choice.name)), choice.changes)
        checked, faults = values.checked_values(asked, known, refused)
        faults += _contradictions(checked, asked) + without_effect(checked, choice.changes.keys())
    if faults:
        raise ConfigError(
            f"recipe {choice.name!r}: {'; '.join(faults)}",
            fix=f"what can be set: {', '.join(sorted(known.keys() - {'description', 'kind'}))}",
        )
    return DetectionRecipe(
        name=choice.name,
        seed=choice.seed,
        description=str(checked.get("description", "")),
        kind=checked.get("kind", "detection"),
        model=checked.get("model"),
        weights=checked.get("weights"),
        min_steps=checked.get("min_steps", 0),
        enlarge=checked.get("enlarge", True),
        device=checked.get("device"),
        predict=PredictOptions(**{key: checked[key] for key in PredictOptions.model_fields if key in checked}),
        arguments={key: value for key, value in sorted(checked.items()) if key not in OURS},
    )


def _with_changes(shipped: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe's file says, and over it what a line or a run says: by name, that holds in every stage."""
    said = in_values(changes)
    asked = {**in_values(shipped), **said}
    if "stages" in shipped and "stages" not in said:
        stages = [{key: own for key, own in in_values(each).items() if key not in said} for each in shipped["stages"]]
        base = {key: own for key, own in asked.items() if key != "stages"}
        asked["stages"] = [stage or {"imgsz": _imgsz(base)} for stage in stages]
    return asked


def _slice(value: Any) -> int:
    side = whole(value, 0, MOST_SLICE_PX)
    if 0 < side < LEAST_SLICE_PX:
        raise ValueError(f"expected 0 (no tiles) or at least {LEAST_SLICE_PX} pixels, found {short_repr(value)}")
    return side


def _architecture(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or find_architecture(value) is None:
        ours = ", ".join(sorted(path.name for path in ARCHITECTURES.glob("*.yaml")))
        raise ValueError(
            f"expected the name of an architecture (ours: {ours}; or one that ultralytics ships, like yolo11n.yaml), "
            f"found {short_repr(value)}"
        )
    return value


_CHECKS: dict[str, Check] = {
    **ARGUMENTS,
    "description": lambda value: text(value, 2000),
    "kind": lambda value: one_of(value, "detection"),
    "model": _architecture,
    "weights": lambda value: value if isinstance(value, str) and value in INSTALLED else values.weights(value),
    "min_steps": lambda value: whole(value, 0, 10_000_000),
    "enlarge": switch,
    "augmentation": augmentation,
    "stages": stages,
    "device": values.devices,
    "tta": switch,
    "slice_px": _slice,
    "slice_overlap": lambda value: number(value, 0, MOST_OVERLAP),
}
"""All that can be set; conf, iou and max_det are checked as ultralytics' own."""
_ANCHORED: dict[str, Check] = {
    **{key: check for key, check in _CHECKS.items() if key not in {*ARGUMENTS, "augmentation", "stages"}},
    **anchored.CHECKS,
}
"""The same for a detector with anchors."""


def _contradictions(checked: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    faults = []
    batches = [stage.get("batch", argument_defaults()["batch"]) for stage in spelt_out(checked)]
    if checked.get("min_steps") and checked.get("time"):
        faults.append("time: cannot bound a training that min_steps holds to a number of steps; set min_steps to 0")
    if min(batches) < 1 and checked.get("min_steps"):
        faults.append("batch: must be a fixed number, from 1, where min_steps is set")
    if checked.get("stages") and checked.get("time"):
        faults.append("time: cannot bound a training of stages, which have their epochs")
    if checked.get("stages") and "," in (checked.get("device") or ""):
        faults.append(f"stages: are trained on one device, found {checked['device']}")
    mixing = [key for key in ("repeat_threshold", "balanced_batches") if any(s.get(key) for s in spelt_out(checked))]
    if mixing and "," in (checked.get("device") or ""):
        faults.append(f"{', '.join(mixing)}: pictures are chosen on one device, found {checked['device']}")
    faults += of_a_teacher(checked) + of_several(checked)
    weights, model = checked.get("weights"), checked.get("model")
    if weights in INSTALLED and backbone_of(find_architecture(model) if model else None) != weights:
        faults.append(f"weights: {weights} are not those of the backbone of {model}; name a model that begins with it")
    if not asked.get("model") and not asked.get("weights"):
        faults.append("model: needs an architecture, or `weights` to start from")
    return faults


def find_architecture(name: str) -> Path | str | None:
    """Where the architecture of that name is: a path of ours; the name, of ultralytics' own; None: there is none."""
    if name in {path.name for path in ARCHITECTURES.glob("*.yaml")}:
        return (ARCHITECTURES / name).resolve()
    return name if name in _ultralytics_architectures() else None


def _ultralytics_architectures() -> set[str]:
    import importlib.util

    spec = importlib.util.find_spec("ultralytics")
    if spec is None or spec.origin is None:
        return set()
    names = set()
    for path in (Path(spec.origin).parent / "cfg" / "models").rglob("yolo*.yaml"):
        names.add(path.name)
        names |= {re.sub(r"^(yolo(?:v|e-)?\d+)", rf"\g<1>{scale}", path.name) for scale in "nsmlx"}
    return names
