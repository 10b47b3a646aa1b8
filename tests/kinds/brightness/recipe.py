"""One recipe with one value: how often the interval is halved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tasks.config import RecipeChoice
from tasks.errors import ConfigError
from tasks.kind import Recipe
from tasks.small_yaml import read_yaml

RECIPES = Path(__file__).parent / "recipes"


class BrightnessRecipe(Recipe):
    """The recipe."""

    epochs: int


def recipe_names() -> tuple[str, ...]:
    """The recipes in this room."""
    return tuple(sorted(path.stem for path in RECIPES.glob("*.yaml")))


def load_recipe(choice: RecipeChoice) -> BrightnessRecipe:
    """The named recipe, with the line's changes."""
    if choice.name not in recipe_names():
        raise ConfigError(f"recipe {choice.name!r}: no such recipe", expected=f"one of: {', '.join(recipe_names())}")
    path = RECIPES / f"{choice.name}.yaml"
    values = {**read_yaml(path.read_text(), str(path)), **choice.changes}
    try:
        return BrightnessRecipe(name=choice.name, kind="brightness", seed=choice.seed, **values)
    except (ValidationError, TypeError) as error:
        raise ConfigError(f"recipe {choice.name!r}: {error}") from error


def recorded(data: Mapping[str, Any]) -> BrightnessRecipe:
    """As a training's record has it."""
    return BrightnessRecipe.model_validate(data)
