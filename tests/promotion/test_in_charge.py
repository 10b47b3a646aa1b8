"""A champion by another hand, a lost one, a forged tag: nothing is decided by them. The real MLflow and lake."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tasks import experiments, operations, steps
from tasks.cli import app
from tasks.config import RecipeChoice, load_settings
from tasks.errors import DataError, IntegrityError, NotFound
from tasks.evidence import pending_promotions
from tasks.kinds.detection.recipe import load_recipe
from tasks.lake.tombstones import LearnedModel, Tombstone
from tasks.promotion.in_charge import champion_of
from tasks.promotion.journal import PendingPromotion
from tasks.registry.models import ABOUT, ModelRecord
from tasks.registry.promotion import PROMOTED_AT, VERDICT
from tasks.schemas import NightState, digest, now
from tasks.session import open_session
from tasks.training.records import Origin, Trained, Training, read, result_key, trained_key, version_key, vouched, write
from tests.promotion.promoting import Scene
from tests.registry.making import about


@pytest.fixture
def ruled(scene: Scene) -> tuple[Scene, str]:
    """A line whose version 1 took charge by a night."""
    version = scene.version().version
    steps.promote_model(open_session(), scene.name, {}, scene.verdict(version, None))
    return scene, version


def by_hand(scene: Scene, **tags: str) -> str:
    one = scene.registry.client.get_model_version(scene.name, "1")
    model_id = str(one.source).split("/")[-1]
    made = scene.registry.client.create_model_version(
        scene.name, source=one.source, run_id=one.run_id, model_id=model_id, tags=tags
    )
    scene.registry.client.set_registered_model_alias(scene.name, "champion", made.version)
    return str(made.version)


def refused(scene: Scene, *words: str) -> None:
    """`champion` and a night's evaluation both stop with an error that says what is wrong, never as "no champion"."""
    challenger = scene.version().version
    for ask in (
        lambda: operations.export_model(open_session(), scene.name, "onnx"),
        lambda: experiments.reproduce(open_session(), scene.name),
        lambda: operations.describe_champion(open_session(), scene.name),
        lambda: steps.evaluate_models(open_session(), scene.name, {}, scene.dataset_version, challenger),
        lambda: champion_of(scene.lake, scene.registry, scene.name),
    ):
        with pytest.raises(DataError) as caught:
            ask()
        assert not isinstance(caught.value, NotFound)
        for word in (*words, "nightscope promote"):
            assert word in str(caught.value)


def test_a_version_registered_by_hand_is_called_champion_without_a_verdict(ruled: tuple[Scene, str]) -> None:
    scene, _ = ruled
    foreign = by_hand(scene)
    refused(
        scene, f"model version {foreign} is called champion in MLflow without a verdict of ours", "was not registered"
    )


def test_tags_copied_from_the_champion_make_no_champion(ruled: tuple[Scene, str]) -> None:
    scene, version = ruled
    tags = scene.registry.client.get_model_version(scene.name, version).tags
    foreign = by_hand(scene, **tags)
    refused(scene, f"model version {foreign} is called champion", f"put version {version} in charge")


def test_the_alias_moved_to_another_version_of_ours(ruled: tuple[Scene, str]) -> None:
    scene, version = ruled
    other = scene.version().version
    scene.registry.client.set_registered_model_alias(scene.name, "champion", other)
    refused(scene, f"model version {other} is called champion", f"evidence 1 put version {version} in charge")

    operations.promote_version(open_session(), scene.name, version, by="ana", note="back", override=True)
    assert operations.describe_champion(open_session(), scene.name).model_version == version, (
        "the way that the error names is open"
    )


@pytest.mark.parametrize("what", ["alias", "version", "model"])
def test_a_champion_that_is_lost_is_not_no_champion(ruled: tuple[Scene, str], what: str) -> None:
    scene, version = ruled
    client = scene.registry.client
    if what == "alias":
        client.delete_registered_model_alias(scene.name, "champion")
    elif what == "version":
        client.delete_model_version(scene.name, version)
    else:
        client.delete_registered_model(scene.name)
    refused(scene, "MLflow calls no version champion", f"version {version}, which evidence 1 put in charge")


def test_where_nobody_was_ever_in_charge_a_forged_tag_puts_nobody_there(scene: Scene) -> None:
    version = scene.version().version
    assert champion_of(scene.lake, scene.registry, scene.name) is None
    scene.registry.client.set_registered_model_alias(scene.name, "champion", version)
    scene.registry.client.set_model_version_tag(scene.name, version, PROMOTED_AT, "2026-01-01T00:00:00+00:00")
    scene.registry.client.set_model_version_tag(scene.name, version, VERDICT, "no such verdict")
    refused(scene, f"model version {version} is called champion in MLflow without a verdict of ours")


def test_a_champion_from_before_there_was_evidence_is_one_by_its_verdict(scene: Scene) -> None:
    version = scene.version().version
    scene.registry.promote(scene.name, version, scene.verdict(version, None))
    found = champion_of(scene.lake, scene.registry, scene.name)
    assert found is not None and found.version == version


def trained(scene: Scene, record: ModelRecord, weights: bytes) -> Trained:
    recipe = load_recipe(RecipeChoice(name="detection-from-scratch", conf=0.5))
    return Trained(
        run_key=record.about.run_key, line=scene.name, dataset_version="d" * 64, recipe=recipe.model_dump(mode="json"),
        seed=0, code_version="1", git_commit=None, libraries={}, hardware={}, setup={"imgsz": 96},
        classes=("sperm", "impurity"), weights_oid=scene.lake.blobs.put_bytes(weights), epochs=1, steps=1,
        resumed_from_epoch=None, history=(), review={}, files={}, seconds=1.0,
    )  # fmt: skip


def finish(scene: Scene, done: Trained, record: ModelRecord) -> None:
    result = Training(
        run_key=done.run_key, weights_oid=done.weights_oid, steps=1, epochs=1, resumed_from_epoch=None, seconds=1.0,
        mlflow_run=record.mlflow_run, model_version=record.version,
    )  # fmt: skip
    write(scene.lake, result_key(done.run_key), result)


@pytest.mark.parametrize("noted", [True, False])
def test_what_is_loaded_comes_from_the_lake_and_not_from_a_tag(
    scene: Scene, noted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    record = scene.version()
    key, done = record.about.run_key, trained(scene, record, b"the weights of the training")
    write(scene.lake, trained_key(key), done)
    if noted:
        write(scene.lake, version_key(scene.name, record.version), Origin(run_key=key))
    else:  # of a time when versions were not noted
        finish(scene, done, record)
    forged = about(scene.name, key, b"an attacker's weights").model_dump_json()
    scene.registry.client.set_model_version_tag(scene.name, record.version, ABOUT, forged)

    found = vouched(scene.lake, scene.registry.version(scene.name, record.version))

    assert (found.weights_oid, found.about.imgsz, found.about.predict["conf"]) == (done.weights_oid, 96, 0.5)
    assert "MLflow's tags are not what was registered" in caplog.text


def test_a_tag_that_names_another_version_s_training_is_refused(scene: Scene) -> None:
    record, other = scene.version(), scene.version()
    key, done = record.about.run_key, trained(scene, record, b"weights")
    write(scene.lake, trained_key(key), done)
    finish(scene, done, record)
    scene.registry.client.set_model_version_tag(scene.name, other.version, ABOUT, record.about.model_dump_json())
    with pytest.raises(
        IntegrityError, match=f"no training in the lake says that it made model version {other.version}"
    ):
        vouched(scene.lake, scene.registry.version(scene.name, other.version))
    with pytest.raises(IntegrityError, match="anybody can write"):
        vouched(scene.lake, record.model_copy(update={"about": about(scene.name, "../../etc")}))


def test_champion_names_the_class_of_which_nothing_was_learned(ruled: tuple[Scene, str]) -> None:
    scene, _ = ruled
    said = operations.describe_champion(open_session(), scene.name)
    assert said.unlearned == ("nothing is known of impurity: the test split holds no label of it",)


def test_champion_says_that_it_learned_from_data_that_was_erased(ruled: tuple[Scene, str]) -> None:
    scene, version = ruled
    assert operations.describe_champion(open_session(), scene.name).learned_from_erased == ()
    learned = LearnedModel(
        line=scene.name, version=version, dataset_version="d" * 64, weights_oid="e" * 64, why="dataset dddddddddddd"
    )
    tombstone = Tombstone(
        donor=digest(scene.name), reason="consent withdrawn", by="os:1/me", at=now(), recordings=(), removed=(),
        replaced={}, datasets={}, models=(learned,),
    )  # fmt: skip
    scene.lake.tombstones.write(tombstone)
    (said,) = operations.describe_champion(open_session(), scene.name).learned_from_erased
    assert (said.tombstone, said.at) == (tombstone.key, tombstone.at.isoformat())
    shown = CliRunner().invoke(app, ["champion", scene.name])
    assert "learned from data that was erased" in " ".join(shown.output.split())


def test_a_damaged_record_is_not_a_missing_one(scene: Scene) -> None:
    scene.lake.store.put_bytes(result_key("a" * 64), b"{", "application/json")
    with pytest.raises(IntegrityError, match="was damaged"):
        read(scene.lake, result_key("a" * 64), Training)
    with pytest.raises(IntegrityError, match="was damaged"):
        scene.lake.store.get_json(result_key("a" * 64))
    assert scene.lake.store.get_json(result_key("b" * 64)) is None


@pytest.mark.parametrize("first", [True, False])
def test_between_alias_and_evidence_champion_names_the_order_that_waits(scene: Scene, first: bool) -> None:
    version = scene.version().version
    if not first:
        steps.promote_model(open_session(), scene.name, {}, scene.verdict(version, None))
        version = scene.version().version
    order = PendingPromotion(
        line=scene.name, action="promotion", key="k", outcome=NightState.PROMOTED, model_version=version, by="ana",
        before=scene.registry.aliases(scene.name),
    )  # fmt: skip
    data = pending_promotions.sealed(load_settings(), scene.name, order, 1 if first else 2)
    scene.lake.store.put_bytes(pending_promotions.key_of(scene.name), data)
    scene.registry.promote(scene.name, version, None)

    with pytest.raises(DataError, match=f"a promotion is under way: promotion of version {version}.*by ana"):
        operations.describe_champion(open_session(), scene.name)
    assert scene.lake.store.get_bytes(pending_promotions.key_of(scene.name)) == data, "who only looks changes nothing"
    scene.lake.store.put_bytes(pending_promotions.key_of(scene.name), order.model_dump_json().encode())
    with pytest.raises(DataError, match="is called champion in MLflow without a verdict of ours"):
        operations.describe_champion(open_session(), scene.name)
