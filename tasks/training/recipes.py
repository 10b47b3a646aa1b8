"""Recipes: how a line trains. A YAML file in `recipes/`, and over it what the line or one run changes.

Every training argument of ultralytics can stand in a recipe, beside our own keys:

    description   one sentence for the trigger form
    kind          detection
    model         an architecture: a file in `architectures/`, one that ultralytics ships (yolo11n.yaml), or a path
    weights       what to start from: the name of a file in `<state_dir>/weights/`, a path, or the oid of a blob
    min_steps     optimizer steps that a training takes at least: epochs are raised until it does
    enlarge       false: imgsz is lowered to what the largest frame needs, so that none is blown up; default true
    conf, iou, max_det   how the finished model predicts
    tta           test-time augmentation: true = it looks at mirrored and smaller copies of an image as well
    slice_px, slice_overlap   it looks at overlapping tiles of that side as well, for small objects; 0 = it does not

The last two lines change how a model predicts, and nothing about its training. Yet they are part of the recipe's
fingerprint, so that a change makes another model version: gates judge a model with the options that it will be used
with, latency included, and a champion whose options change behind its back was never judged. Only the training is not
done again: the new version takes over the weights (see `detection.py`).

Checked without importing ultralytics (see `arguments.py`), all faults at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from tasks.config import RecipeChoice
from tasks.errors import ConfigError
from tasks.schemas import Frozen, digest
from tasks.training.arguments import argument_rules, check_argument, close_matches

RECIPES = Path(__file__).parent / "recipes"
ARCHITECTURES = Path(__file__).parent / "architectures"

OWNED = {
    "task": "the line's kind says so",
    "mode": "a recipe trains",
    "data": "the dataset version is the data",
    "split": "a model is chosen on the validation split, never on the test split",
    "classes": "the line's classes are the classes",
    "single_cls": "the line's classes are the classes",
    "resume": "a killed training resumes by itself",
    "save": "checkpoints are always kept",
    "project": "results go to the lake and to MLflow",
    "name": "the recipe's name comes from its file",
    "save_dir": "results go to the lake and to MLflow",
    "exist_ok": "every training has its own folder",
    "cfg": "this file is the configuration",
    "pretrained": "say `weights:`",
    "seed": "the seed belongs to the line, beside the recipe's name",
    "tracker": "a recipe trains",
    "source": "a recipe trains",
}
"""Arguments of ultralytics that we set, with the reason we give to who tries."""


_DEVICES = re.compile(r"cpu|\d{1,3}(,\d{1,3})*")

STRIDE_PX = 32
"""Image sizes are multiples of this: the coarsest grid of the architectures."""
LEAST_SLICE_PX = 64
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


OURS = {"description", "kind", "model", "weights", "min_steps", "enlarge", "device", *PredictOptions.model_fields}


class Recipe(Frozen):
    """A checked recipe. `arguments` holds what differs from ultralytics' defaults, in its own words."""

    name: str
    description: str
    kind: str
    seed: int
    model: str | None
    weights: str | None
    min_steps: int
    enlarge: bool
    device: str | None = None
    """'cpu', a GPU by number, or several ('0,1') to train on together; None: the next that is free."""
    predict: PredictOptions
    arguments: dict[str, Any]

    @property
    def imgsz(self) -> int:
        """Side, in pixels, that images are scaled to."""
        return int(self.arguments.get("imgsz", argument_rules().defaults["imgsz"]))

    def arguments_for(self, longest_px: int) -> dict[str, Any]:
        """The arguments for frames whose longest side has so many pixels, at most."""
        if self.enlarge or not 0 < longest_px < self.imgsz:
            return self.arguments
        return {**self.arguments, "imgsz": math.ceil(longest_px / STRIDE_PX) * STRIDE_PX}

    def value(self, key: str) -> Any:
        """An ultralytics argument: the recipe's value, else ultralytics' default."""
        return self.arguments.get(key, argument_rules().defaults[key])

    def plain(self) -> Recipe:
        """The same training, of a model that looks at an image once."""
        once = {name: PredictOptions.model_fields[name].default for name in ("tta", "slice_px", "slice_overlap")}
        return self.model_copy(update={"predict": self.predict.model_copy(update=once)})

    def fingerprint(self) -> str:
        """Digest of everything in it that can change a training's result."""
        return digest(self.model_dump(mode="json", exclude={"description"}))


@dataclass(frozen=True)
class Schedule:
    """How long a training is: what ultralytics counts (epochs), and what counts (optimizer steps)."""

    epochs: int
    steps_per_epoch: int
    patience: int


def schedule(arguments: Mapping[str, Any], min_steps: int, images: int) -> Schedule:
    """Raise epochs until a training on so many images takes `min_steps` optimizer steps; no early stop before that."""
    defaults = argument_rules().defaults
    batch, nbs, patience = (arguments.get(key, defaults[key]) for key in ("batch", "nbs", "patience"))
    fraction = arguments.get("fraction", defaults["fraction"])
    used = min(images, int(fraction)) if fraction > 1 else max(1, round(images * fraction))
    steps = 1
    if batch >= 1:  # else ultralytics finds a batch size itself, and min_steps is refused with it
        batches = math.ceil(used / batch)
        steps = max(1, batches // max(round(nbs / batch), 1))
    least = math.ceil(min_steps / steps)
    return Schedule(
        max(int(arguments.get("epochs", defaults["epochs"])), least), steps, max(patience, least) if patience else 0
    )


def recipe_names() -> tuple[str, ...]:
    """The shipped recipes, sorted."""
    return tuple(sorted(path.stem for path in RECIPES.glob("*.yaml")))


def load_recipe(choice: RecipeChoice) -> Recipe:
    """The recipe that a line names, with the line's changes.

    Raises:
        ConfigError: No such recipe; or naming every unknown key and every bad value at once.
    """
    if choice.name not in recipe_names():
        raise ConfigError(
            f"recipe {choice.name!r}: no such recipe{close_matches(choice.name, set(recipe_names()))}",
            expected=f"one of: {', '.join(recipe_names())}",
        )
    values = {**yaml.safe_load((RECIPES / f"{choice.name}.yaml").read_text()), **choice.changes}
    checked, faults = _checked(values)
    faults += _contradictions(checked)
    if faults:
        raise ConfigError(
            f"recipe {choice.name!r}: {'; '.join(faults)}",
            fix=f"a key is an argument of ultralytics, or {', '.join(sorted(OURS - {'description', 'kind'}))}",
        )
    return Recipe(
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


def _checked(values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    known = set(argument_rules().defaults) | OURS
    checked: dict[str, Any] = {}
    faults = []
    for key, value in values.items():
        if key in OWNED:
            faults.append(f"{key}: cannot be set, {OWNED[key]}")
        elif key not in known:
            faults.append(f"{key}: no such argument{close_matches(key, known - set(OWNED))}")
        else:
            try:
                checked[key] = _own_value(key, value) if key in OURS else check_argument(key, value)
            except ValueError as error:
                faults.append(f"{key}: {error}")
    return checked, faults


def _own_value(key: str, value: Any) -> Any:
    if key == "device":
        return _devices(value)
    if key in {"conf", "iou", "max_det"}:
        return check_argument(key, value)
    if key in {"min_steps", "slice_px"}:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"expected a whole number from 0, found {value!r}")
        if key == "slice_px" and 0 < value < LEAST_SLICE_PX:
            raise ValueError(f"expected 0 (no tiles) or at least {LEAST_SLICE_PX} pixels, found {value!r}")
    elif key == "slice_overlap":
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_OVERLAP:
            raise ValueError(f"expected a share of a tile's side from 0 to {MOST_OVERLAP}, found {value!r}")
    elif key in {"enlarge", "tta"}:
        if not isinstance(value, bool):
            raise ValueError(f"expected true or false, found {value!r}")
    elif value is not None and not isinstance(value, str):
        raise ValueError(f"expected text, found {value!r}")
    if key == "kind" and value != "detection":
        raise ValueError(f"expected detection, found {value!r}")
    return value


def _devices(value: Any) -> str | None:
    """None, 'cpu', '0', '0,1'; numbers and lists of them are welcome."""
    parts = value if isinstance(value, list | tuple) else [value]
    text = ",".join(str(part).replace(" ", "") for part in parts if not isinstance(part, bool))
    if value is None or text == "auto":
        return None
    if not _DEVICES.fullmatch(text):
        raise ValueError(f"expected auto, cpu, or GPUs by number ('0' or '0,1'), found {value!r}")
    return text


def _contradictions(checked: dict[str, Any]) -> list[str]:
    faults = []
    batch = checked.get("batch", argument_rules().defaults["batch"])
    if checked.get("min_steps") and checked.get("time"):
        faults.append("time: cannot bound a training that min_steps holds to a number of steps; set min_steps to 0")
    if isinstance(batch, int | float) and batch < 1 and checked.get("min_steps"):
        faults.append("batch: must be a fixed number, from 1, where min_steps is set")
    if not checked.get("model") and not checked.get("weights"):
        faults.append("model: needs an architecture, or `weights` to start from")
    model = checked.get("model")
    if model and find_architecture(model) is None:
        faults.append(
            f"model: no architecture {model!r} (ours: {', '.join(sorted(p.name for p in ARCHITECTURES.glob('*')))})"
        )
    return faults


def find_architecture(name: str) -> Path | str | None:
    """Where the architecture is: a path; the name as ultralytics knows it; None if there is none."""
    for path in (ARCHITECTURES / name, Path(name)):
        if path.is_file() and path.suffix in {".yaml", ".yml"}:
            return path.resolve()
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
