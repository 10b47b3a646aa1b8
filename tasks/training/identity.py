"""A training's identity: the same key again is the same training, finished or to be gone on with."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tasks.config import Line, Settings
from tasks.errors import ConfigError
from tasks.escaping import short_repr
from tasks.lake import Lake
from tasks.provenance import code_version, meaning_of
from tasks.schemas import Oid, digest
from tasks.training.recipes import OID, WEIGHTS_NAME, Recipe, find_architecture, load_recipe

WEIGHTS_SOURCE = "https://github.com/ultralytics/assets/releases"


def run_key(lake: Lake, line: Line, dataset_version: str) -> str:
    """Digest of all that decides a training's result: dataset version, recipe, code, seed, and what it starts from.

    Cheap: imports no ultralytics and asks no service, except the lake where the recipe names weights by oid.

    Raises:
        ConfigError: The recipe is wrong, or its weights are not there.
    """
    return run_key_of(lake, line.line, dataset_version, load_recipe(line.recipe))


def run_key_of(lake: Lake, line: str, dataset_version: str, recipe: Recipe) -> str:
    """`run_key` of a recipe that was loaded before, e.g. by a training that is on record.

    Raises:
        ConfigError: Its weights are not there.
    """
    start = starting_weights(lake, recipe)
    parts = [line, dataset_version, recipe.fingerprint(), recipe.seed, code_version()]
    return digest("training", *parts, start and start[1], _architecture_digest(recipe))


def starting_weights(lake: Lake, recipe: Recipe) -> tuple[Path, Oid] | None:
    """The weights that a recipe starts from, and their oid; None: from scratch.

    A blob is verified by its name; a file's oid is part of the run key and of the run's record. Neither can run
    anything when it is loaded (see `loading.py`).

    Raises:
        ConfigError: They are not where the recipe says.
    """
    if recipe.weights is None:
        return None
    if OID.fullmatch(recipe.weights):
        return lake.blobs.fetch(recipe.weights), recipe.weights
    path = weights_path(lake.settings, recipe.weights)
    if not path.is_file():
        raise ConfigError(
            f"recipe {recipe.name!r} starts from the weights {recipe.weights!r}, and they are not there",
            expected=f"a file at {path}",
            fix=f"put it there (nothing is downloaded; COCO weights: {WEIGHTS_SOURCE}), name another or a blob's "
            "oid with `weights`, or train with detection-from-scratch",
        )
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def weights_path(settings: Settings, name: str) -> Path:
    """Where weights named in a recipe lie.

    Raises:
        ConfigError: The name is a path: of a recipe from a time when these were taken.
    """
    if not WEIGHTS_NAME.fullmatch(name):
        raise ConfigError(
            f"weights {short_repr(name)}: a recipe names no path",
            expected="the bare name of a .pt",
            fix=f"put the file into {settings.state_dir / 'weights'} and name it alone",
        )
    return settings.state_dir / "weights" / name


def _architecture_digest(recipe: Recipe) -> str | None:
    """Of an architecture file; one known to ultralytics by name is covered by the code version."""
    found = find_architecture(recipe.model) if recipe.model else None
    return meaning_of(found) if isinstance(found, Path) else None
