"""What the site writes from the code is whole, and nobody forgets the upgrade note."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator

import pytest
import yaml
from pydantic import BaseModel

from tasks.config import HOME, Line, Settings
from tasks.evidence.bundle import SCHEMA_VERSION
from tasks.lake.table_schemas import TABLES, columns_of
from tasks.lake.tombstones import Tombstone
from tests.docs.texts import script

REFERENCE = script()
UPGRADING = (HOME / "docs" / "upgrading.md").read_text()


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A model and all that its fields hold."""
    yield model
    for field in model.model_fields.values():
        yield from (each for kind in classes(field.annotation) for each in models(kind))


def classes(annotation: typing.Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from classes(part)


KEYS = {
    f"{model.__name__}.{field.alias or name}"
    for model in set(models(Line))
    for name, field in model.model_fields.items()
}


def test_every_key_of_a_line_is_in_the_table_with_a_meaning() -> None:
    texts = REFERENCE.key_texts()
    assert set(texts) == KEYS
    assert not [key for key, text in texts.items() if not text], "describe them in the code: Field(description=...)"
    rows = set(re.findall(r"^\| `(\w+)` \|", REFERENCE.line_keys(), re.M))
    assert rows == {key.partition(".")[2] for key in KEYS}


def test_no_meaning_is_stale() -> None:
    models_by_name = {model.__name__: model for model in models(Line)}
    for key in REFERENCE.KEYS:
        assert key in KEYS, f"{key}: there is no such key"
        name, _, field = key.partition(".")
        fields = {own.alias or each: own for each, own in models_by_name[name].model_fields.items()}
        assert not fields[field].description, f"{key}: the code describes it now"


@pytest.mark.parametrize("path", [*sorted((HOME / "dags/lines").glob("*.yaml")), HOME / "examples/tiny-swim.yaml"])
def test_every_key_that_ships_is_in_the_table(path) -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", REFERENCE.line_keys(), re.M))
    assert set(yaml.safe_load(path.read_text())) <= rows


def test_every_setting_is_in_the_table() -> None:
    rows = set(re.findall(r"^\| `(NIGHTSCOPE_\w+)` \|", REFERENCE.settings_table(), re.M))
    own = {
        f"NIGHTSCOPE_{name.upper()}"
        for name, field in Settings.model_fields.items()
        if not any(classes(field.annotation))
    }
    assert own <= rows and {"NIGHTSCOPE_S3__LANDING__ACCESS_KEY", "NIGHTSCOPE_INGEST__MEMORY_MB"} <= rows
    assert str(HOME) not in REFERENCE.settings_table()


def test_every_recipe_and_every_dag_is_listed() -> None:
    for path in (HOME / "tasks").glob("**/recipes/*.yaml"):
        assert f"| `{path.stem}` |" in REFERENCE.recipes()
    assert REFERENCE.dags().count("**On failure**") == len(list((HOME / "dags").glob("*.py"))) - 1  # all but the lines'


def test_every_value_of_a_detectors_training_is_in_the_table_with_range_default_and_meaning() -> None:
    from tasks.kinds.detection.allowed import ARGUMENTS
    from tasks.kinds.detection.knobs import knobs
    from tasks.training.microscope import EFFECTS, STRENGTH

    found = {each.name: each for each in knobs()}
    assert found.keys() == ARGUMENTS.keys() | {"augmentation", "stages"}
    assert not [each.name for each in found.values() if not (each.range and each.default and each.meaning)]
    assert found["lr0"][1:4] == ("0 to 1", "per step", "0.01")
    assert found["clip_norm"][1:4] == ("0 to 1000", "norm", "10")
    rows = re.findall(r"^\| `(\w+)` \|", REFERENCE.detector_values(), re.M)
    assert rows == list(found)
    assert "| `degrees` | 0 | 0 | 180 |" in REFERENCE.detector_augmentations()
    effects = re.findall(r"^\| `(\w+)` \|", REFERENCE.detector_microscope(), re.M)
    assert effects == [*EFFECTS, STRENGTH]


def test_the_upgrade_note_names_the_schema_of_bundles_and_tombstones() -> None:
    note = "docs/upgrading.md: say what the new schema version brought, and what to run"
    assert f"Evidence bundles: **schema version {SCHEMA_VERSION}**" in UPGRADING, note
    assert f"| {SCHEMA_VERSION} | " in UPGRADING, note
    version = Tombstone.model_fields["schema_version"].default
    assert f"Tombstones of erasures: **schema version {version}**" in UPGRADING, note


def test_the_upgrade_note_names_every_column_of_every_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \|$", UPGRADING, re.M)
    noted = {table: re.findall(r"`(\w+)`", columns) for table, columns in rows}
    there = {table: list(columns_of(noun)) for table, noun in TABLES.items()}
    assert noted == there, "docs/upgrading.md: a table has changed; name its columns there, and what to run"
