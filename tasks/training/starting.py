"""What a training starts from: an installed package's weights, a blob by its oid, or a file in the weights' folder.

A teacher, a finished model that it learns from, is named and found the same way. So is a denoiser, what frames go
through before the model; it may be named as a version of a denoiser as well.
"""

from __future__ import annotations

import re
from pathlib import Path

from tasks.config import Settings
from tasks.errors import ConfigError
from tasks.escaping import short_repr
from tasks.kind import Recipe
from tasks.lake import Lake
from tasks.lake.blobs import hash_file
from tasks.lake.denoisers import VERSION_NAME, read_denoiser
from tasks.schemas import Oid

OID = re.compile(r"[0-9a-f]{64}")
TORCH_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}\.pt")
SAFETENSORS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}\.safetensors")
WEIGHTS_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}\.(pt|pth|safetensors)")
"""A file's name alone: it names no folder, and cannot begin with a dot. Which suffixes it takes is a kind's affair."""


def starting_weights(lake: Lake, recipe: Recipe) -> tuple[Path, Oid] | None:
    """The weights that a recipe starts from, and their oid; None: from scratch.

    A blob is verified by its name, a package's file by the kind; a file's oid is part of the run key and of the run's
    record. None can run anything when it is loaded (see the kind's `loading.py`).

    Raises:
        ConfigError: They are not where the recipe says.
    """
    if recipe.weights is None:
        return None
    if installed := recipe.installed_weights():
        return installed
    return _named(
        lake, recipe.weights, f"recipe {recipe.name!r} starts from the weights {recipe.weights!r}, and they",
        f"put it there (nothing is downloaded; {recipe.WEIGHTS_ADVICE}), name another or a blob's oid with `weights`, "
        "or train from scratch",
    )  # fmt: skip


def teachers_weights(lake: Lake, recipe: Recipe) -> tuple[Path, Oid] | None:
    """The weights of the model that a recipe learns from, and their oid; None: it learns from labels alone.

    The oid is part of the run key: another teacher under the same name is another training.

    Raises:
        ConfigError: They are not where the recipe says.
    """
    teacher = recipe.teacher()
    if teacher is None:
        return None
    return _named(
        lake, teacher, f"recipe {recipe.name!r} learns from the teacher {teacher!r}, and its weights",
        "put it there, name another or a blob's oid with `teacher` (`nightscope champion LINE --json` has "
        "`weights_oid`), or set it to null",
    )  # fmt: skip


def denoisers_weights(lake: Lake, recipe: Recipe) -> tuple[Path, Oid] | None:
    """The weights of the denoiser that a recipe shows its frames through, and their oid; None: they stay as they are.

    The oid is part of the run key: another denoiser under the same name is another training.

    Raises:
        ConfigError, NotFound: They are not where the recipe says.
        SignatureError: It is a version that nobody who is trusted here signed.
    """
    denoiser = recipe.denoiser()
    if denoiser is None:
        return None
    if VERSION_NAME.fullmatch(denoiser):
        denoiser = read_denoiser(lake, denoiser).weights_oid
    return _named(
        lake, denoiser, f"recipe {recipe.name!r} shows frames through the denoiser {denoiser!r}, and its weights",
        "put it there, name a version (`nightscope denoiser list`) or a blob's oid with `denoiser`, or set it to null",
    )  # fmt: skip


def _named(lake: Lake, name: str, who: str, fix: str) -> tuple[Path, Oid]:
    """A file of weights by its oid or its name, and its oid."""
    if OID.fullmatch(name):
        return lake.blobs.fetch(name), name
    path = weights_path(lake.settings, name)
    if not path.is_file():
        raise ConfigError(f"{who} are not there", expected=f"a file at {path}", fix=fix)
    return path, hash_file(path)


def weights_path(settings: Settings, name: str) -> Path:
    """Where weights named in a recipe lie.

    Raises:
        ConfigError: The name is a path: of a recipe from a time when these were taken.
    """
    if not WEIGHTS_NAME.fullmatch(name):
        raise ConfigError(
            f"weights {short_repr(name)}: a recipe names no path",
            expected="the bare name of a file of weights",
            fix=f"put the file into {settings.state_dir / 'weights'} and name it alone",
        )
    return settings.state_dir / "weights" / name
