"""Versions of denoisers: models of their own, that belong to no line.

    denoisers/<name>/<version>.json    signed: the blob of its weights, what it learned from, how good it is

A version is filed once, after its blob, and never changes. `nightscope denoiser train` makes one; a recipe names it
'<name>/<version>'.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from tasks.errors import ConfigError, IntegrityError, NotFound
from tasks.escaping import short_repr
from tasks.lake.conditional import NOTHING, put_as_seen
from tasks.lake.locks import lake_lock
from tasks.lake.object_store import JSON
from tasks.lake.signed import open_json, seal_json
from tasks.schemas import Frozen, Oid

if TYPE_CHECKING:
    from tasks.lake.lake import Lake

_NAME = r"[a-z0-9][a-z0-9-]{0,59}"
NAME_ALONE = re.compile(_NAME)
VERSION_NAME = re.compile(rf"({_NAME})/([1-9][0-9]{{0,5}})")
_SIGNED_AS = "denoiser"
_PLACE = "denoisers/"


class DenoiserVersion(Frozen):
    """One version of a denoiser."""

    name: str
    version: int = Field(ge=1)
    weights_oid: Oid
    size_bytes: int
    key: str = Field(description="Digest of all that decides what it learns: the same again is the same version.")
    plan: dict[str, Any] = Field(description="Of the network and its training, seed included.")
    pictures: dict[str, Any] = Field(description="Of learning, of choosing strengths, and of the table, each apart.")
    quality: tuple[dict[str, Any], ...] = Field(description="The classical filters, and the network last.")
    seconds: float
    by: str = Field(description="Who trained it.")
    at: str
    git_commit: str | None
    git_dirty: bool | None
    lock_sha256: Oid | None
    libraries: dict[str, str]
    hardware: str

    @property
    def called(self) -> str:
        """As a recipe names it."""
        return f"{self.name}/{self.version}"


def denoiser_place(called: str) -> str:
    """The key of the record of a version such as 'speckle/1'.

    Raises:
        ConfigError: It is no such name.
    """
    if not VERSION_NAME.fullmatch(called):
        raise ConfigError(f"denoiser {short_repr(called)}", expected="a name and a version, such as speckle/1")
    return f"{_PLACE}{called}.json"


def read_denoiser(lake: Lake, called: str) -> DenoiserVersion:
    """The record of a version.

    Raises:
        ConfigError: It is no such name.
        NotFound: There is no such version.
        SignatureError: Nobody who is trusted here signed it.
        IntegrityError: It is damaged.
    """
    place = denoiser_place(called)
    if lake.store.head(place) is None:
        known = ", ".join(_names(lake)) or "none yet"
        raise NotFound(
            f"denoiser {called}: there is no such version", expected=f"one of: {known}",
            fix="`nightscope denoiser train NAME` makes one",
        )  # fmt: skip
    value = open_json(lake.settings, lake.store.get_bytes(place), _SIGNED_AS, "", place).value
    try:
        return DenoiserVersion.model_validate(value)
    except ValidationError as error:
        found = " ".join(str(error).split())[:200]
        raise IntegrityError(f"{place}: was damaged", expected="a denoiser's record", found=found) from error


def list_denoisers(lake: Lake, name: str | None = None) -> list[DenoiserVersion]:
    """All versions, or those of a name, by name and number."""
    found = [read_denoiser(lake, each) for each in _names(lake) if name in (None, each.partition("/")[0])]
    return sorted(found, key=lambda one: (one.name, one.version))


def _names(lake: Lake) -> list[str]:
    named = (info.key.removeprefix(_PLACE).removesuffix(".json") for info in lake.store.list(_PLACE))
    return [each for each in named if VERSION_NAME.fullmatch(each)]


def same_denoiser(lake: Lake, name: str, key: str) -> DenoiserVersion | None:
    """The version of a name that was trained in the same way, if there is one."""
    return next((one for one in list_denoisers(lake, name) if one.key == key), None)


def file_denoiser(lake: Lake, trained: DenoiserVersion) -> DenoiserVersion:
    """File a version under the next free number, whatever it says of itself; its blob must be there."""
    with lake_lock(lake.settings, f"denoiser-{trained.name}"):
        if known := same_denoiser(lake, trained.name, trained.key):
            return known
        before = list_denoisers(lake, trained.name)
        made = trained.model_copy(update={"version": before[-1].version + 1 if before else 1})
        place = denoiser_place(made.called)
        data = seal_json(lake.settings, _SIGNED_AS, "", place, made.model_dump(mode="json"))
        put_as_seen(lake, place, data, JSON, NOTHING)
    return made
