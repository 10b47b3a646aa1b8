"""Which kinds of line there are, and where their rooms stand. Nothing of a kind is imported here.

A kind comes from one of three places:

- a folder below `tasks/kinds/`: what ships;
- the entry point group `nightscope.kinds` of an installed package: the name is the kind's, the value its package;
- a folder below `NIGHTSCOPE_KINDS_DIR`: a lab's own, named like its folder.

The last is read from the environment alone, never from `settings.env`: code in that folder runs with all rights of this
installation, so only who starts its processes may name it (see SECURITY.md). No place may replace another's kind.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from tasks.errors import ConfigError

BUILT_IN = Path(__file__).parent / "kinds"
GROUP = "nightscope.kinds"
KINDS_DIR = "NIGHTSCOPE_KINDS_DIR"
NAME = re.compile(r"[a-z][a-z0-9_]{1,40}")
"""What a kind may be called: a Python package's name."""
_ENTRY = "__init__.py"


@dataclass(frozen=True)
class KindPlace:
    """Where a kind's room is.

    Attributes:
        name: Of the kind, as `kind:` in a line's file has it.
        package: The Python package that its modules are imported from.
        folder: The folder of that package.
        loose: Whether it stands outside of every installed package, and must be made importable first.
    """

    name: str
    package: str
    folder: Path
    loose: bool = False


def known_kinds() -> dict[str, KindPlace]:
    """All kinds by name, the shipped ones first.

    Raises:
        ConfigError: Two places have a kind of the same name, or `NIGHTSCOPE_KINDS_DIR` is not a folder.
    """
    found = dict(_shipped())
    for place in (*_installed(), *_loose(os.environ.get(KINDS_DIR, ""))):
        if place.name in found:
            raise ConfigError(
                f"kind {place.name!r}: is there twice",
                expected="one room for each kind",
                found=f"{found[place.name].folder} and {place.folder}",
                fix="rename the second",
            )
        found[place.name] = place
    return found


def place_of(name: str) -> KindPlace:
    """Where the kind of that name is.

    Raises:
        ConfigError: There is none; naming those that there are.
    """
    if place := _shipped().get(name):
        return place
    kinds = known_kinds()
    if name not in kinds:
        raise ConfigError(
            f"kind {name!r}: no such kind of line",
            expected=f"one of: {', '.join(kinds)}",
            fix=f"correct `kind:`, or put the kind's folder where {KINDS_DIR} points (docs/how-to/add-a-kind.md)",
        )
    return kinds[name]


@cache
def _shipped() -> dict[str, KindPlace]:
    folders = sorted(path.parent for path in BUILT_IN.glob(f"*/{_ENTRY}"))
    return {folder.name: KindPlace(folder.name, f"tasks.kinds.{folder.name}", folder) for folder in folders}


@cache
def _installed() -> tuple[KindPlace, ...]:
    places = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        spec = find_spec(entry.value)
        if spec is None or not spec.submodule_search_locations or not NAME.fullmatch(entry.name):
            raise ConfigError(
                f"entry point {entry.name} = {entry.value!r} of group {GROUP}: is not a kind",
                expected="a lower-case name, and a package with the kind's modules",
                fix="correct or uninstall the package that declares it",
            )
        places.append(KindPlace(entry.name, entry.value, Path(spec.submodule_search_locations[0])))
    return tuple(places)


def _loose(setting: str) -> tuple[KindPlace, ...]:
    if not setting:
        return ()
    root = Path(setting).resolve()
    if not root.is_dir():
        raise ConfigError(
            f"{KINDS_DIR}={setting}: is not a folder", fix="name the folder that holds the kinds' folders"
        )
    folders = sorted(path.parent for path in root.glob(f"*/{_ENTRY}") if NAME.fullmatch(path.parent.name))
    return tuple(KindPlace(one.name, f"nightscope_kinds.{one.name}", one, loose=True) for one in folders)
