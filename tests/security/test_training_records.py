"""Attacks on the records that decide which weights are loaded, by somebody who can write to the lake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks import steps
from tasks.config import RecipeChoice, load_settings
from tasks.errors import IntegrityError, SignatureError
from tasks.kinds.detection.recipe import load_recipe
from tasks.lake import keys, open_lake
from tasks.registry.models import ABOUT, ModelRecord
from tasks.schemas import digest, now
from tasks.session import open_session
from tasks.training.heard import TrainingRun
from tasks.training.records import (
    Checkpoint,
    Origin,
    Trained,
    checkpoint_key,
    read,
    read_or_again,
    trained_key,
    version_key,
    vouched,
    write,
)
from tasks.training.train import _trained
from tests.promotion.promoting import Scene
from tests.registry.making import about

EVIL = b"weights of somebody else"


def training_of(scene: Scene, record: ModelRecord, **rest: Any) -> Trained:
    recipe = load_recipe(RecipeChoice(name="detection-from-scratch"))
    made = Trained(
        run_key=record.about.run_key, line=scene.name, dataset_version=scene.dataset_version,
        recipe=recipe.model_dump(mode="json"), seed=0, code_version="1", git_commit=None, libraries={}, hardware={},
        setup={"imgsz": 64}, classes=("sperm", "impurity"), weights_oid=scene.lake.blobs.put_bytes(b"weights"),
        epochs=1, steps=1, resumed_from_epoch=None, history=(), review={}, files={}, seconds=1.0,
    )  # fmt: skip
    return made.model_copy(update=rest)


@pytest.fixture
def trained(scene: Scene) -> tuple[Scene, ModelRecord]:
    """A version with the signed record of its training."""
    record = scene.version()
    write(scene.lake, trained_key(record.about.run_key), training_of(scene, record))
    write(scene.lake, version_key(scene.name, record.version), Origin(run_key=record.about.run_key))
    return scene, record


def content(scene: Scene, key: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(scene.lake.store.get_bytes(key))
    return found


def put(scene: Scene, key: str, value: dict[str, Any]) -> None:
    scene.lake.store.put_bytes(key, json.dumps(value, sort_keys=True).encode())


def without_signatures(scene: Scene, record: ModelRecord) -> None:
    """Both records as an earlier Nightscope wrote them."""
    for key in (trained_key(record.about.run_key), version_key(scene.name, record.version)):
        put(scene, key, {name: value for name, value in content(scene, key).items() if name != "signature"})


def signing_began_now() -> None:
    """As after an upgrade: nothing was signed before this moment."""
    settings = load_settings()
    known = keys.read_trusted(settings)
    keys.write_trusted(settings, [one.model_copy(update={"added_at": now().isoformat()}) for one in known])


@pytest.mark.parametrize("how", ["plain", "signature kept", "another key", "another training's"])
def test_a_forged_training_is_never_loaded(trained: tuple[Scene, ModelRecord], tmp_path: Path, how: str) -> None:
    scene, record = trained
    assert vouched(scene.lake, record).weights_oid == record.weights_oid
    key, evil = trained_key(record.about.run_key), scene.lake.blobs.put_bytes(EVIL)
    if how == "plain":
        put(scene, key, {k: v for k, v in content(scene, key).items() if k != "signature"} | {"weights_oid": evil})
    elif how == "signature kept":
        put(scene, key, content(scene, key) | {"weights_oid": evil})
    elif how == "another key":
        settings = load_settings()
        own = {"state_dir": tmp_path / "thief", "catalog_uri": settings.iceberg_uri}
        write(open_lake(settings.model_copy(update=own)), key, training_of(scene, record, weights_oid=evil))
    else:
        other = trained_key("e" * 64)
        write(scene.lake, other, training_of(scene, record, weights_oid=evil))
        put(scene, key, content(scene, other))
    with pytest.raises(SignatureError):
        vouched(scene.lake, record)
    said: list[str] = []
    assert _trained(scene.lake, record.about.run_key, said.append) is None
    assert key in said[0] and "trained again" in said[0]


def test_a_forged_note_leads_to_no_other_training(trained: tuple[Scene, ModelRecord]) -> None:
    scene, record = trained
    other = scene.version()
    write(scene.lake, trained_key(other.about.run_key), training_of(scene, other))
    put(scene, version_key(scene.name, record.version), {"run_key": other.about.run_key})
    with pytest.raises(SignatureError, match="the record of its training is not signed"):
        vouched(scene.lake, record)
    scene.lake.store.remove(version_key(scene.name, record.version))  # nor does none
    with pytest.raises(IntegrityError, match="no training in the lake says that it made"):
        vouched(scene.lake, record)


def test_records_from_before_signing_are_used_unless_something_contradicts(trained: tuple[Scene, ModelRecord]) -> None:
    scene, record = trained
    without_signatures(scene, record)
    with pytest.raises(SignatureError, match="when records were signed already"):
        vouched(scene.lake, record)
    signing_began_now()
    assert vouched(scene.lake, record).weights_oid == record.weights_oid
    key, evil = trained_key(record.about.run_key), scene.lake.blobs.put_bytes(EVIL)
    put(scene, key, content(scene, key) | {"weights_oid": evil})
    with pytest.raises(SignatureError, match="and neither signed"):
        vouched(scene.lake, record)


def test_what_the_evidence_names_is_believed_and_nothing_else(trained: tuple[Scene, ModelRecord]) -> None:
    """Also against somebody who can write MLflow's tags, too."""
    scene, record = trained
    without_signatures(scene, record)
    write(scene.lake, version_key(scene.name, record.version), Origin(run_key=record.about.run_key))
    steps.promote_model(open_session(), scene.name, {}, scene.verdict(record.version, None))
    record = scene.registry.version(scene.name, record.version)
    assert vouched(scene.lake, record).weights_oid == record.weights_oid
    signing_began_now()
    key, evil = trained_key(record.about.run_key), scene.lake.blobs.put_bytes(EVIL)
    put(scene, key, content(scene, key) | {"weights_oid": evil})
    forged = about(scene.name, record.about.run_key, EVIL).model_dump_json()
    scene.registry.client.set_model_version_tag(scene.name, record.version, ABOUT, forged)
    with pytest.raises(SignatureError, match="evidence that names other bytes"):
        vouched(scene.lake, scene.registry.version(scene.name, record.version))


def test_a_forged_checkpoint_is_not_gone_on_from(scene: Scene) -> None:
    key, said = digest(scene.name), list[str]()
    ours = Checkpoint(oid=scene.lake.blobs.put_bytes(b"ours"), epoch=3, history=(), setup={})
    write(scene.lake, checkpoint_key(key), ours)
    assert TrainingRun(scene.lake, key, None, said.append).resume() == ours
    evil = scene.lake.blobs.put_bytes(EVIL)
    put(scene, checkpoint_key(key), content(scene, checkpoint_key(key)) | {"oid": evil})
    night = TrainingRun(scene.lake, key, None, said.append)
    assert night.resume() is None and night.epoch == 0
    assert "begun anew" in said[-1] and checkpoint_key(key) in said[-1]
    put(scene, checkpoint_key(key), ours.model_dump(mode="json"))
    assert read_or_again(scene.lake, checkpoint_key(key), Checkpoint, said.append, again="x") is None
    with pytest.raises(SignatureError, match="is not signed"):
        read(scene.lake, checkpoint_key(key), Checkpoint)
