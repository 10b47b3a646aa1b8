"""Lines: whether each can be read, its recipe included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tasks.errors import ConfigError
from tasks.kinds import kind_of
from tasks.operations.doctor.findings import Finding, check, ok, wrong
from tasks.operations.doctor.patient import Patient


@check("lines.read")
def read(patient: Patient) -> Iterator[Finding]:
    """Every line's file can be read, and its recipe takes the values that it names."""
    folder = patient.settings.lines_dir
    if not folder.is_dir():
        yield wrong(f"{folder}: is not there: no line, no night", "name the folder in NIGHTSCOPE_LINES_DIR")
        return
    good, names = [], patient.session.line_names()
    for name in names:
        try:
            line = patient.session.line(name)
            kind_of(line.kind).recipes.load_recipe(line.recipe)
        except ConfigError as error:
            yield wrong(f"line {name}: {error.thing}", error.fix or "docs/how-to/add-a-line.md has every key")
        else:
            good.append(name)
    if not names:
        yield wrong(f"{folder}: holds no line", "docs/how-to/add-a-line.md")
    elif good:
        yield ok(", ".join(good))


@check("lines.suites")
def suites(patient: Patient) -> Iterator[Finding]:
    """The suites that labels are checked by are there."""
    folder: Path = patient.settings.expectations_dir
    if next(folder.rglob("*.json"), None) or next(folder.rglob("*.yaml"), None):
        yield ok(str(folder))
    else:
        yield wrong(f"{folder}: holds no suite: no labels can be checked", "name it in NIGHTSCOPE_EXPECTATIONS_DIR")
