"""A training's identity: the same key again is the same training, finished or to be gone on with."""

from __future__ import annotations

from tasks.config import Line
from tasks.kind import Kind, Recipe
from tasks.lake import Lake
from tasks.provenance import code_version, meaning_of
from tasks.schemas import digest
from tasks.training.starting import denoisers_weights, starting_weights, teachers_weights


def run_key(lake: Lake, line: Line, dataset_version: str, kind: Kind) -> str:
    """Digest of all that decides a training's result: dataset version, recipe, code, seed, first weights, teacher,
    denoiser.

    Cheap: imports no trainer and asks no service, except the lake where the recipe names weights by oid.

    Raises:
        ConfigError: The recipe is wrong, or its weights are not there.
    """
    return run_key_of(lake, line.line, dataset_version, kind.recipes.load_recipe(line.recipe))


def run_key_of(lake: Lake, line: str, dataset_version: str, recipe: Recipe) -> str:
    """`run_key` of a recipe that was loaded before, e.g. by a training that is on record.

    Raises:
        ConfigError: Its weights are not there.
    """
    start = starting_weights(lake, recipe)
    others = [("", teachers_weights(lake, recipe)), ("denoiser ", denoisers_weights(lake, recipe))]
    parts = [line, dataset_version, recipe.fingerprint(), recipe.seed, code_version(recipe.kind)]
    sources = [meaning_of(path) for path in recipe.sources()]
    named = [role + found[1] for role, found in others if found]
    return digest("training", *parts, start and start[1], sources, *named)
