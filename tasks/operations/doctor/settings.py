"""Settings: whether they parse, and whether each of them is one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, get_args

from dotenv import dotenv_values
from pydantic import BaseModel

from tasks.config import Settings
from tasks.errors import ConfigError
from tasks.operations.doctor.findings import Finding, check, ok, warning, wrong
from tasks.operations.doctor.patient import Patient

PREFIX = "NIGHTSCOPE_"
BESIDE_SETTINGS = frozenset(
    f"{PREFIX}{name}"
    for name in (
        "HOME", "STATE_DIR", "KINDS_DIR", "LABEL_STUDIO_BIN",  # read from the environment alone
        "STACK", "SERVICE", "MLFLOW_READER_PASSWORD",  # the stack's own, for its processes
        "GPU_SLOTS", "MLFLOW_AUTH_DATABASE_URI",  # of containers: tasks/stack/containers.py
        "CHROMIUM", "SHOTS", "TEST_ENDINGS",  # for tests
    )
)  # fmt: skip
"""Variables with our prefix that are not settings."""


@check("settings.parse", everywhere=True)
def parse(patient: Patient) -> Iterator[Finding]:
    """The settings can be read."""
    try:
        _ = patient.settings
    except ConfigError as error:
        yield wrong(error.thing, error.fix or "correct them; every setting stands in docs/reference/settings.md")
        return
    there = patient.layout.settings_env.exists()
    yield ok(f"environment{f' and {patient.layout.settings_env}' if there else ''}")


@check("settings.names", everywhere=True)
def names(patient: Patient) -> Iterator[Finding]:
    """Every NIGHTSCOPE_ variable is a setting: one that is not is passed over in silence."""
    known, open_ended = known_names()
    given = {key.upper(): "the environment" for key in patient.environ}
    file = patient.layout.settings_env
    if file.is_file():
        given |= {key.upper(): str(file) for key in dotenv_values(file)}
    strange = [key for key in sorted(given) if key.startswith(PREFIX) and key not in known | BESIDE_SETTINGS]
    strange = [key for key in strange if not key.startswith(open_ended)]
    for key in strange:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
        hint = f"did you mean {near[0]}?" if near else "remove it"
        yield warning(f"{key} in {given[key]} is no setting, and does nothing", hint)
    if not strange:
        yield ok("every variable is a setting")


def known_names(model: type[BaseModel] = Settings, prefix: str = PREFIX) -> tuple[set[str], tuple[str, ...]]:
    """The names of all settings, and prefixes below which every name is one."""
    known: set[str] = set()
    open_ended: list[str] = []
    for name, field in model.model_fields.items():
        own = f"{prefix}{name.upper()}"
        known.add(own)
        for part in _models_in(field.annotation):
            below, further = known_names(part, f"{own}__")
            known |= below
            open_ended += further
        if getattr(field.annotation, "__origin__", None) is dict:
            open_ended.append(f"{own}__")
    return known, tuple(open_ended)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    found = [annotation, *get_args(annotation)]
    return [each for each in found if isinstance(each, type) and issubclass(each, BaseModel)]
